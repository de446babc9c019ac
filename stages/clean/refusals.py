"""Does an assistant say that it will not or cannot do what it was asked? Rather no: a message wrongly called bad is lost."""

import re
from collections.abc import Sequence

from stages.clean.signs import has_sign

# What an assistant says it cannot do. "I can't find my keys" has none of these verbs, "I can't help laughing" no object.
CANNOT = "|".join(
    [
        r"can ?not|can['’]?t|won['’]?t be able to|do(?: not|n['’]?t) have the ability to",
        r"(?:must|have to) (?:respectfully )?decline to",
        r"(?:am|['’]?m)(?: currently)? (?:unable to|not able to|not allowed to|not permitted to|incapable of)",
    ]
)
ONE_REQUEST = r"(?:that|this|your|such|the|any) (?:request|question|task|prompt|kind|type|topic)"
REFUSED = "|".join(
    [
        r"help (?:you )?with (?:that|this)\b(?! \w)|help (?:you )?(?:with )?(?:creating|making|writing|that (?:request|kind))",
        r"assist(?: you)? (?:with|in) (?:that|this|it|your|such|any|creating|making|writing)|assist(?: you)?\W*$|comply\b",
        rf"(?:fulfill?|complete|process|respond to|answer|do|discuss|help (?:you )?with|continue) {ONE_REQUEST}",
        r"(?:engage in|support|condone|participate in) (?:that|this|such|any|discussions?|conversations?|illegal|harmful)",
        r"(?:provide|generate|create|produce|write|offer|give|share)(?: you)?(?: with)? "
        rf"(?:{ONE_REQUEST}|such|any|content|instructions|information|medical|legal|financial|explicit|harmful|illegal|real-time)",
    ]
)
AN_AI = (
    r"(?:an? )?(?:artificial intelligence|ai|a\.i\.|large language model|language model)"
    r"(?: (?:language model|model|assistant|chatbot|system|developed by \w+|trained by \w+))*"
)
REFUSAL_ENGLISH = re.compile(
    r"(?:^\W*|[.!?\n] *)(?:however,? |but )?(?:"
    + "|".join(
        [
            rf"(?:as|(?:because|since) i(?: am|['’]m)|i(?: am|['’]m)(?: just| only)?) {AN_AI}\b[^.!?\n]{{0,80}}?"
            rf"(?:{CANNOT}|do(?: not|n['’]?t) have (?:access|the|personal|feelings|emotions|opinions))",
            r"(?:(?:i(?: am|['’]m)|my) )?(?:(?:very|so|really|deeply) )?(?:sorry|i apologi[sz]e|apologies|unfortunately),?"
            rf"(?: but)?(?: that)?,? (?:as {AN_AI},? )?i ?(?:{CANNOT}) (?:{REFUSED})",
            rf"i ?(?:{CANNOT}) (?:{REFUSED})",
            r"(?:it|that|this) (?:is|goes) against (?:my|openai['’]?s) (?:programming|guidelines|polic(?:y|ies)|principles)",
        ]
    )
    + ")",
    re.IGNORECASE,
)
REFUSAL_CHINESE = re.compile(
    r"(?:^\W*|[。！？!?\n，,] *)(?:但是?|不过|因此|所以)?(?:"
    + "|".join(
        [
            r"(?:作为|我(?:只)?是)(?:一[个名款位])?(?:由\w{2,8}(?:开发|训练)的)?"
            r"(?:人工智能|AI|大?语言模型|大模型|智能助手|虚拟助手|聊天机器人)(?:大?语言模型|模型|助手|助理|机器人|程序|系统)*"
            r"[^。！？!?\n]{0,40}?(?:无法|不能|不会|没有能力|没有?办法|不具备|没有(?:情感|感情|个人|自己的|主观))",
            r"(?:很|非常|十分|真的|实在|深感)?(?:抱歉|对不起|不好意思|遗憾)[，,。 ]*(?:但是?|可是)?[，, ]*"
            r"我(?:暂时|目前|现在|确实|还)?(?:无法|不能|没有?办法|没法|不可以)(?:继续)?(?:为|给|向|帮|就|在|对)?[您你这此该]?"
            r"[^。！？!?，,\n]{0,12}?(?:提供|回答|协助|帮助|满足|讨论|生成|执行|参与|支持|回应|(?:处理|完成)[您你该这此])",
            r"我(?:无法|不能|没有?办法)(?:继续)?(?:为[您你])?(?:提供|协助|满足|回答|讨论|生成|参与|回应)"
            r"(?:[您你这此该]|相关|任何|有关|涉及|违法|非法|有害|具体的)",
        ]
    )
    + ")",
    re.IGNORECASE,
)
REFUSAL_SIGNS = ("can't", "can’t", "cannot", "cant", "can not", "unable", "not able", "sorry", "an ai", "language model",
                 "artificial", "against my", "against openai", "decline", "n't have", "n’t have", "dont have", "not have",
                 "not allowed", "not permitted", "be able", "incapable")  # fmt: skip
REFUSAL_SIGNS_CHINESE = ("无法", "不能", "没办法", "没有", "不具备", "不会", "没法", "不可以")
REFUSAL_START = 200  # characters in which a refusal must begin
LONGEST_REFUSAL = 800  # characters; what goes on for longer says something after all


def is_refusal(text: str) -> bool:
    """Whether an assistant says that it will not or cannot do what it was asked, at the start of the message.

    >>> is_refusal("As an AI language model, I cannot give medical advice."), is_refusal("作为一个人工智能语言模型，我无法回答。")
    (True, True)
    >>> is_refusal("I'm sorry to hear that."), is_refusal("I can't find my keys.")
    (False, False)
    """
    if len(text) > LONGEST_REFUSAL:
        return False
    if not has_sign(text[:REFUSAL_START], REFUSAL_SIGNS, REFUSAL_SIGNS_CHINESE):
        return False
    found = [pattern.search(text) for pattern in (REFUSAL_ENGLISH, REFUSAL_CHINESE)]
    return any(match and match.start() < REFUSAL_START for match in found)


def any_refusal(replies: Sequence[str]) -> bool:
    """Whether one of a conversation's replies is a refusal: the signs are sought once in all, as most conversations have none."""
    starts = "\n".join([text[:REFUSAL_START] for text in replies])
    return has_sign(starts, REFUSAL_SIGNS, REFUSAL_SIGNS_CHINESE) and any(map(is_refusal, replies))

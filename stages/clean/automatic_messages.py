"""Is a whole message automatic: a greeting queue, a closed chat, an absence? Rather no: a message wrongly called bad is lost."""

import re
from collections.abc import Sequence

from stages.clean.signs import has_sign
from stages.lib.scripts import HAN

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
AUTOMATIC_SIGNS = ("be with you", "get back", "shortly", "agent", "represent", "closed", "ended", "solved", "auto", "not reply",
                   "not respond", "received", "in queue", "in the queue", "in line", "in the line", "our lines", "joined the",
                   "left the", "team member", "complete", "connect", "office", "on leave", "annual leave", "on vacation",
                   "on holiday", "away from", "rate", "survey", "timed out", "created", "transfer", "assigned", "contacting",
                   "reaching out", "in touch", "for your", "calling", "choosing", "specialist", "advisor",
                   "operator")  # fmt: skip
AUTOMATIC_SIGNS_CHINESE = ("自动", "会话", "对话", "聊天", "转接", "客服", "坐席", "座席", "前面还有", "不在", "服务", "咨询",
                           "排队", "收到", "工单", "为您", "为你", "请勿", "系统")  # fmt: skip
LONGEST_AUTOMATIC = 500
SENTENCE_END = re.compile(rf"[.!?]+(?=\s|$|[^\x00-\x7f])|[\n。！？；]+|(?<=[{HAN}])[，,~～]+")
AROUND_SENTENCE = " \t\r\"'*-_[]【】()（）~～,，:：。.!！"


def is_boilerplate(text: str) -> bool:
    """Whether the whole message is automatic: a greeting queue, a closed chat, an absence. One sentence of content saves it.

    >>> is_boilerplate("Thanks for contacting us! An agent will be with you shortly."), is_boilerplate("您的会话已结束。")
    (True, True)
    >>> is_boilerplate("Thanks for contacting us! Your refund was sent on Monday.")
    False
    """
    if len(text) > LONGEST_AUTOMATIC or not has_sign(text, AUTOMATIC_SIGNS, AUTOMATIC_SIGNS_CHINESE):
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


def any_boilerplate(texts: Sequence[str]) -> bool:
    """Whether one of a conversation's messages is automatic: the signs are sought once in all, as most have none."""
    short = [text for text in texts if len(text) <= LONGEST_AUTOMATIC]
    return has_sign("\n".join(short), AUTOMATIC_SIGNS, AUTOMATIC_SIGNS_CHINESE) and any(map(is_boilerplate, short))

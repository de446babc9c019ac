const PAGE_SIZE = 20;
const CONVERSATION = { id: 0, label: 1, language: 2, source: 3, change: 4, messages: 5 };
// A page of two tuned models has the base model's replies beside theirs, and whether the two are the same.
const [OF, TURN, BASE, TUNED, BASE_CHRF, TUNED_CHRF, BASE_FAULTS, TUNED_FAULTS, HASH, VOTES, BESIDE, SAME] =
  data.replies[0] ? data.replies[0].keys() : [];
const filters = document.getElementById("filters");
const rows = document.getElementById("rows");
let found = [];
let page = 0;
let haystacks = null;

function conversationOf(reply, key) {
  return data.conversations[reply[OF]][CONVERSATION[key]];
}

function normal(text) {
  return text.normalize("NFKC").toLowerCase();
}

function haystackOf(reply) {
  const messages = conversationOf(reply, "messages") || [];
  const texts = messages.slice(0, reply[TURN] + 1).map((message) => message[1]);
  const beside = (reply[BESIDE] || []).map((one) => one[1]);
  return normal([conversationOf(reply, "id"), conversationOf(reply, "label"), ...texts, ...beside, reply[BASE], reply[TUNED]].join("\n"));
}

function overlap(reply) {
  return reply[BASE_CHRF] === null || reply[TUNED_CHRF] === null ? null : reply[TUNED_CHRF] - reply[BASE_CHRF];
}

const FAULTS = {
  fault_new: (reply) => reply[TUNED_FAULTS] && !reply[BASE_FAULTS],
  fault_gone: (reply) => reply[BASE_FAULTS] && !reply[TUNED_FAULTS],
  fault_tuned: (reply) => reply[TUNED_FAULTS],
  fault_base: (reply) => reply[BASE_FAULTS],
};
const ORDERS = {
  sort_loss: overlap,
  sort_win: (reply) => (overlap(reply) === null ? null : -overlap(reply)),
  sort_less_likely: (reply) => (conversationOf(reply, "change") === null ? null : -conversationOf(reply, "change")),
  sort_more_likely: (reply) => conversationOf(reply, "change"),
  sort_id: () => 0,
};

function find() {
  const wanted = Object.fromEntries(new FormData(filters));
  const terms = normal(wanted.search || "").split(/\s+/).filter(Boolean);
  if (terms.length && !haystacks) haystacks = data.replies.map(haystackOf);
  const order = ORDERS[wanted.sort];
  const keys = data.replies.map(order);
  found = [...data.replies.keys()].filter((at) => {
    const reply = data.replies[at];
    for (const name of ["label", "language", "source"]) {
      // A select's value is a text: the position of the value, which may be null or empty itself.
      if (wanted[name] && choices[name][wanted[name]] !== conversationOf(reply, name)) return false;
    }
    if (wanted.fault && !FAULTS[wanted.fault](reply)) return false;
    if (wanted.changed && reply[SAME] === (wanted.changed === "changed")) return false;
    return terms.every((term) => haystacks[at].includes(term));
  });
  // What has no value comes last; the sort is stable.
  found.sort((one, other) => (keys[one] === null) - (keys[other] === null) || keys[one] - keys[other]);
  page = 0;
  show();
}

function faults(bits) {
  return words.behaviours.flatMap((name, bit) => ((bits >> bit) & 1 ? [element("span", { className: "fault" }, say(name))] : []));
}

function side(name, head, text, ...more) {
  const said = text === null || text === undefined ? say(words.unanswered) : text === "" ? say(words.empty) : text;
  const none = typeof said !== "string";
  return element("div", { className: `side ${name}` }, element("h4", {}, say(head), ...more),
    element("p", { className: none ? "said none" : "said", dir: "auto" }, said));
}

// The messages before the reply: the last one of the user, and what came before it.
function asked(reply) {
  const messages = (conversationOf(reply, "messages") || []).slice(0, Math.max(reply[TURN], 0));
  const last = messages.map((message) => message[0]).lastIndexOf("user");
  return { prompt: last < 0 ? "" : messages[last][1], earlier: messages.filter((_, at) => at !== last) };
}

function earlierTurns(messages) {
  if (!messages.length) return null;
  return element("details", { className: "earlier" }, element("summary", {}, say(words.earlier, { number: messages.length })),
    messages.map(([role, text]) => element("div", { className: "side" }, element("h4", {}, say(words[role])),
      element("p", { className: "said", dir: "auto" }, text))));
}

function card(at) {
  const reply = data.replies[at];
  const [id, label, language, source, change, messages] = data.conversations[reply[OF]];
  const score = (value) => (value === null ? null : element("span", { className: "score" }, `chrF ${value.toFixed(1)}`));
  const signed = change === null ? "" : (change > 0 ? "+" : "") + change.toFixed(2);
  const meta = element("p", { className: "meta" }, label === null ? null : element("span", { dir: "auto" }, label),
    element("span", {}, language), reply[TURN] > 1 ? element("span", {}, say(words.turn, { turn: reply[TURN] + 1 })) : null,
    change === null ? null : element("span", {}, say(words.likelihood, { change: signed })));
  const head = element("h3", { id: `reply-${at}` }, element("span", { dir: "auto" }, id));
  const made = element("article", { className: "reply", "aria-labelledby": `reply-${at}` }, head, meta);
  if (messages === null) {
    meta.append(...[["base", BASE_CHRF, BASE_FAULTS], ["tuned", TUNED_CHRF, TUNED_FAULTS]].map(([name, chrf, bits]) =>
      element("span", {}, say(words[name]), score(reply[chrf]), faults(reply[bits]))));
    made.append(element("p", { className: "note" }, say(words.hidden, { source })));
    return made;
  }
  const { prompt, earlier } = asked(reply);
  made.append(...[earlierTurns(earlier)].filter(Boolean), element("div", { className: "sides" },
    side("prompt", words.prompt, prompt), side("reference", words.reference, reply[TURN] < 0 ? "" : messages[reply[TURN]][1]),
    ...(reply[BESIDE] || []).map(([name, text, chrf, bits]) => side(name, words[name], text, score(chrf), ...faults(bits))),
    side("base", words.base, reply[BASE], score(reply[BASE_CHRF]), ...faults(reply[BASE_FAULTS])),
    side("tuned", words.tuned, reply[TUNED], score(reply[TUNED_CHRF]), ...faults(reply[TUNED_FAULTS]))));
  return made;
}

function show() {
  const pages = Math.max(1, Math.ceil(found.length / PAGE_SIZE));
  rows.replaceChildren(...found.slice(page * PAGE_SIZE, (page + 1) * PAGE_SIZE).map(card));
  const number = (value) => value.toLocaleString("en");
  document.getElementById("count").replaceChildren(...say(words.found, { number: number(found.length), all: number(data.replies.length) }));
  document.getElementById("page").replaceChildren(...say(words.page, { page: number(page + 1), pages: number(pages) }));
  const controls = document.getElementById("pages");
  controls.hidden = pages < 2;
  controls.querySelector("[data-step='-1']").disabled = page === 0;
  controls.querySelector("[data-step='1']").disabled = page === pages - 1;
}

const choices = {};
for (const name of ["label", "language", "source"]) {
  choices[name] = [...new Set(data.conversations.map((one) => one[CONVERSATION[name]]))].sort((one, other) => (one === null) - (other === null) || (one < other ? -1 : 1));
  filters.elements[name].append(element("option", { value: "", "data-en": words.all[0], "data-zh": words.all[1] }),
    ...choices[name].map((text, at) => (text === null ? element("option", { value: at, "data-en": words.no_label[0], "data-zh": words.no_label[1] })
      : element("option", { value: at }, text))));
  filters.elements[name].parentElement.hidden = choices[name].length < 2;
}
filters.addEventListener("input", find);
filters.addEventListener("submit", (event) => event.preventDefault());
document.getElementById("pages").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  page += Number(button.dataset.step);
  show();
  document.getElementById("replies-head").focus({ preventScroll: true });
  document.getElementById("replies").scrollIntoView();
});
filters.hidden = false;
speak(root.lang); // what was added since
find();

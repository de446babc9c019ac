const ballot = document.getElementById("ballot");
const part = (name) => document.getElementById(`ballot-${name}`);
// Those with the fewest votes first, in the order of their hashes, which says nothing of their content; the hash's last digit says
// which reply comes first.
const pairs = data.replies.filter((reply) => reply[HASH] && reply[BASE] !== null && reply[TUNED] !== null && reply[BASE] !== reply[TUNED])
  .sort((one, other) => one[VOTES] - other[VOTES] || (one[HASH] < other[HASH] ? -1 : 1));
const tunedFirst = (reply) => parseInt(reply[HASH].slice(-1), 16) % 2 === 1;
const votes = new Map();
let at = 0;
let saved = 0;

function winnerOf(reply, choice) {
  if (choice === "tie" || choice === "bad") return choice;
  return (choice === "first") === tunedFirst(reply) ? "tuned" : "base";
}

function showPair() {
  const reply = pairs[at];
  const texts = tunedFirst(reply) ? [reply[TUNED], reply[BASE]] : [reply[BASE], reply[TUNED]];
  const { prompt, earlier } = asked(reply);
  part("head").replaceChildren(...say(words.vote_progress, { number: at + 1, all: pairs.length }));
  part("status").replaceChildren(...say(words.vote_progress, { number: at + 1, all: pairs.length }));
  part("asked").replaceChildren(...[earlierTurns(earlier)].filter(Boolean), side("prompt", words.prompt, prompt));
  part("replies").replaceChildren(side("first", words.vote_first, texts[0]), side("second", words.vote_second, texts[1]));
  part("back").disabled = at === 0;
  part("pair").hidden = part("end").hidden = false;
  part("result").hidden = true;
  ballot.scrollTop = 0;
}

function vote(choice) {
  if (part("pair").hidden) return;
  votes.set(at, winnerOf(pairs[at], choice));
  at += 1;
  if (at === pairs.length) reveal();
  else showPair();
}

function back() {
  if (at === 0 || part("pair").hidden) return;
  at -= 1;
  votes.delete(at);
  showPair();
}

function reveal() {
  const counts = { tuned: 0, base: 0, tie: 0, bad: 0 };
  for (const winner of votes.values()) counts[winner] += 1;
  const listed = [...votes].map(([position, winner]) => {
    const reply = pairs[position];
    const [first, second] = tunedFirst(reply) ? ["tuned", "base"] : ["base", "tuned"];
    const was = words.vote_was.map((text, language) => filled(text, { first: words[first][language], second: words[second][language] }));
    return element("li", {}, element("span", { dir: "auto" }, conversationOf(reply, "id")), " ", say(was), ": ", say(words[`won_${winner}`]));
  });
  const button = element("button", { type: "button", id: "ballot-save", disabled: votes.size === 0 }, say(words.vote_save));
  button.addEventListener("click", save);
  part("head").replaceChildren(...say(words.vote_result));
  part("status").replaceChildren(...say(words.vote_result));
  part("result").replaceChildren(
    votes.size ? element("dl", {}, Object.entries(counts).map(([name, number]) =>
      element("div", {}, element("dt", {}, say(words[`won_${name}`])), element("dd", {}, String(number))))) : element("p", {}, say(words.vote_none)),
    element("p", {}, button),
    ...(votes.size ? [element("details", {}, element("summary", {}, say(words.vote_revealed)), element("ul", {}, listed))] : []));
  part("pair").hidden = part("end").hidden = true;
  part("result").hidden = false;
  part("head").focus();
}

function save() {
  const lines = [...votes].map(([position, winner]) => {
    const reply = pairs[position];
    return JSON.stringify({ id: conversationOf(reply, "id"), turn: reply[TURN], replies: reply[HASH], winner });
  });
  const link = element("a", { href: URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "application/jsonl" })), download: "votes.jsonl" });
  link.click();
  saved = votes.size;
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

const KEYS = { 1: "first", 2: "second", 3: "tie", 4: "bad" };
ballot.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key in KEYS) vote(KEYS[event.key]);
  else if (event.key === "0") back();
  else return;
  event.preventDefault();
});
part("choices").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.choice) vote(button.dataset.choice);
  else back();
});
part("end").addEventListener("click", reveal);
part("close").addEventListener("click", () => ballot.close());
const begin = document.getElementById("vote-begin");
begin.addEventListener("click", () => {
  if (at === pairs.length) reveal();
  else showPair();
  ballot.showModal();
  part("head").focus();
});
ballot.addEventListener("close", () => begin.replaceChildren(...say(votes.size ? words.vote_begin_at : words.vote_begin)));
begin.hidden = pairs.length === 0;
document.getElementById("vote-left").replaceChildren(...(pairs.length ? say(words.vote_left, { number: pairs.length }) : say(words.vote_nothing)));
window.addEventListener("beforeunload", (event) => {
  if (votes.size > saved) event.preventDefault();
});
performance.mark("reprotune-shown");

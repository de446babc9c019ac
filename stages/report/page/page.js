"use strict";
const words = JSON.parse(document.getElementById("words").textContent);
const data = JSON.parse(document.getElementById("data").textContent);
const root = document.documentElement;

function element(name, properties, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties || {})) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

function filled(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

// Both languages, of which the style shows one.
function say(pair, values = {}) {
  const [english, chinese] = pair.map((text) => filled(text, values));
  return [element("span", { className: "en", lang: "en" }, english), element("span", { className: "zh", lang: "zh-Hans" }, chinese)];
}

function speak(language) {
  const key = language === "en" ? "en" : "zh";
  root.lang = language;
  for (const button of document.querySelectorAll(".languages button")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === language));
  }
  // What can hold no elements.
  for (const part of document.querySelectorAll("[data-en]")) {
    const text = part.dataset[key];
    if (part.matches("title, option")) part.textContent = text;
    else if (part.matches("input")) part.placeholder = text;
    else part.setAttribute("aria-label", text);
  }
}

for (const button of document.querySelectorAll(".languages button")) {
  button.addEventListener("click", () => speak(button.dataset.language));
}
document.querySelector(".languages").hidden = false;
speak(/^zh\b/i.test(navigator.language) ? "zh-Hans" : "en");

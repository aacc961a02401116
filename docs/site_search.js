/**
 * Search of the documentation site: a worker that speaks the messages of Material for MkDocs.
 *
 * A word of the query is looked for as it is written, so options (--resume), names (regard.load), addresses (hf://) and
 * words of Chinese need no rules of their own. Letters match from the beginning of a word; blanks between Chinese and
 * Latin letters, and the difference between "-" and "_", do not count. A word that no page has is divided: at the
 * borders of Chinese, at its punctuation, and Chinese into the parts that are most frequent here.
 */
"use strict";

const SETUP = 0, READY = 1, QUERY = 2, RESULT = 3;
const TAG = 20, TITLE = 10, TEXT = 1;
const SAME = 1000;
/** For an entry whose tag or title is the query itself. */
const AROUND = 70;
/** Characters that are shown before and after a match. */
const LONGEST = 24;
/** Characters of Chinese that are divided together. */
const STOP_WORDS = new Set(
  "a an and are as at be by can do does for from how i if in is it my of on or the this to what when with 的".split(" "),
);
const CHINESE = /\p{sc=Han}+/gu;
const BORDER = /(?<=\p{sc=Han})(?=[\w.-])|(?<=[\w.-])(?=\p{sc=Han})/gu;
const BETWEEN = /[\s，。；：？！、「」（）]+/u;
const ENTITIES = { "&lt;": "<", "&gt;": ">", "&quot;": '"', "&amp;": "&" };

let entries = [];
let everything = "";

/** Text without tags and entities. */
function plain(html) {
  const text = html.replace(/<\/?(?:p|pre|li|ul|ol)>/g, " ").replace(/<[^>]+>|\u200b/g, "");
  return text.replace(/&(?:lt|gt|quot|amp);/g, (entity) => ENTITIES[entity]);
}

function escaped(text) {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function isLetter(character) {
  return character !== undefined && /[a-z0-9]/.test(character);
}

/** What is looked for: a pattern, the word, and its weight by how many entries have it. */
function termOf(word) {
  const stem = /^[a-z]{5,}$/.test(word) ? word.replace(/(?:ies|es|s|ing|ed)$/, "") : word;
  const source = stem
    .replace(/[.*+?^${}()|[\]\\/]/g, "\\$&")
    .replace(/(?<=\w)[-_](?=\w)/g, "[-_]")
    .replace(/\s+/g, "\\s+")
    .replace(BORDER, "\\s*");
  return { word, pattern: new RegExp(source, "g"), weight: 1 };
}

/** Matches of a term in a text in lower case: where they are, and how good the best one is, from 0 to 1. */
function matches(term, text) {
  const spans = [];
  let best = 0;
  const isLatin = isLetter(term.word[0]);
  for (const { 0: found, index } of text.matchAll(term.pattern)) {
    if (isLatin && isLetter(text[index - 1])) continue;
    const isWhole = text.startsWith(term.word, index) || found.length >= term.word.length;
    const goesOn = isLetter(term.word.at(-1)) && isLetter(text[index + found.length]);
    if (goesOn && isLatin && term.word.length < 3) continue; // SE is not the beginning of "see"
    spans.push([index, index + found.length]);
    best = Math.max(best, isWhole ? (goesOn ? 0.6 : 1) : 0.3);
  }
  return { spans, best };
}

function isAnywhere(word) {
  return matches(termOf(word), everything).spans.length > 0;
}

/** Parts of Chinese that are most frequent in the pages. */
function divided(characters) {
  const text = characters.slice(0, LONGEST);
  const best = [{ cost: 0, parts: [] }];
  for (let end = 1; end <= text.length; end++)
    for (let start = 0; start < end; start++) {
      const part = text.slice(start, end);
      const count = everything.split(part).length - 1;
      if (count === 0 && part.length > 1) continue;
      const cost = best[start].cost + Math.log(everything.length / (count || 0.1));
      if (!best[end] || cost < best[end].cost) best[end] = { cost, parts: [...best[start].parts, part] };
    }
  return best[text.length].parts;
}

/** The word, or the parts of it that pages have. */
function parts(word) {
  if (isAnywhere(word)) return [word];
  const found = [];
  for (const piece of word.split(BORDER))
    if (isAnywhere(piece)) found.push(piece);
    else if (piece.match(CHINESE)?.[0] === piece) found.push(...divided(piece));
    else found.push(...piece.split(/[^\p{L}\p{N}_]+/u).filter(Boolean));
  return found;
}

/** Terms of a query; what stands in quotation marks is one. */
function termsOf(query) {
  const words = query.split(/"([^"]+)"/).flatMap((part, i) => (i % 2 ? [part] : part.split(BETWEEN)));
  const all = [...new Set(words.filter(Boolean).flatMap(parts))];
  const meant = all.filter((word) => !STOP_WORDS.has(word));
  return (meant.length ? meant : all).map(termOf);
}

/** Text around the first two matches that are apart, with marks. */
function excerpt(text, spans) {
  const windows = [];
  for (const [start, end] of spans) {
    const last = windows.at(-1);
    if (last && start < last.end) last.end = Math.max(last.end, Math.min(end + AROUND, last.start + 4 * AROUND));
    else if (windows.length < 2) windows.push({ start: Math.max(0, start - AROUND), end: end + AROUND });
  }
  const shown = windows.map(({ start, end }) => (start ? "…" : "") + marked(text, spans, start, end));
  return shown.length ? `<p>${shown.join(" ")}${windows.at(-1).end < text.length ? "…" : ""}</p>` : "";
}

/** A part of a text, with marks for the matches in it. */
function marked(text, spans, from = 0, to = text.length) {
  let html = "", at = from;
  for (const [start, end] of spans) {
    if (start < at || end > to) continue;
    html += `${escaped(text.slice(at, start))}<mark>${escaped(text.slice(start, end))}</mark>`;
    at = end;
  }
  return html + escaped(text.slice(at, to));
}

/** How well an entry matches, or null. */
function judged(entry, terms, query) {
  const found = { entry, terms: {}, score: 0, covered: 0, title: [], text: [] };
  for (const term of terms) {
    const title = matches(term, entry.title), text = matches(term, entry.text);
    const tag = Math.max(0, ...entry.tags.map((one) => matches(term, one).best));
    const own = TAG * tag + TITLE * title.best + TEXT * text.best * Math.log2(1 + text.spans.length);
    found.terms[term.word] = own > 0;
    found.score += term.weight * own;
    found.covered += own > 0;
    found.title.push(...title.spans);
    found.text.push(...text.spans);
  }
  if (!found.covered) return null;
  if ([entry.title, ...entry.tags].includes(query)) found.score += SAME;
  found.score *= (entry.doc.boost ?? 1) * (entry.page === entry.doc.location ? 1.5 : 1);
  return found;
}

/** An entry as the page shows it. */
function shown({ entry, terms, score, title, text }) {
  const sorted = (spans) => spans.sort((a, b) => a[0] - b[0]);
  const { doc } = entry;
  return {
    ...doc,
    title: /[<&]/.test(doc.title) ? doc.title : marked(plain(doc.title), sorted(title)),
    text: excerpt(entry.plain, sorted(text)),
    score,
    terms,
  };
}

function search(text) {
  const query = text.normalize("NFKC").toLowerCase().trim();
  const terms = termsOf(query);
  for (const term of terms) {
    const having = entries.filter((entry) => matches(term, `${entry.title} ${entry.text}`).best > 0).length;
    term.weight = Math.log(1 + entries.length / (1 + having));
  }
  const found = terms.length ? entries.map((entry) => judged(entry, terms, query)).filter(Boolean) : [];
  const most = Math.max(0, ...found.map((one) => one.covered));
  const best = found.filter((one) => one.covered === most).sort((a, b) => b.score - a.score);
  const pages = new Map();
  for (const one of best) pages.set(one.entry.page, [...(pages.get(one.entry.page) ?? []), shown(one)]);
  for (const [page, items] of pages) {
    const article = entries.find((entry) => entry.doc.location === page);
    if (!items.some((item) => item.location === page) && article)
      items.push(shown({ entry: article, terms: {}, score: 0, title: [], text: [] }));
  }
  const last = query.split(/[\s-]+/).at(-1);
  const names = best.slice(0, 1).flatMap(({ entry }) => [...entry.title.split(/\s+/), ...entry.tags]);
  return { items: [...pages.values()], suggest: names.filter((name) => last && name.startsWith(last)).slice(0, 1) };
}

function setUp(docs) {
  entries = docs.map((doc) => {
    const text = plain(doc.text);
    const tags = (doc.tags ?? []).map((tag) => tag.toLowerCase());
    const title = plain(doc.title.replace(/\s*<code>.*/, "")).toLowerCase();
    return { doc, plain: text, text: text.toLowerCase(), title, tags, page: doc.location.split("#")[0] };
  });
  everything = entries.map((entry) => [entry.title, ...entry.tags, entry.text].join("\n")).join("\n");
}

addEventListener("message", ({ data: { type, data } }) => {
  if (type === SETUP) {
    setUp(data.docs);
    postMessage({ type: READY });
  } else if (type === QUERY) postMessage({ type: RESULT, data: search(data) });
});

// Checks a published site in Chromium. Arguments: the folder of the site, the folder for screenshots, the browser.
import { createServer } from "node:http";
import { readFileSync, readdirSync, statSync } from "node:fs";
import { join, extname } from "node:path";
import { chromium } from "playwright-core";
import { HtmlValidate } from "html-validate";

const [site, shots, executablePath] = process.argv.slice(2);
const axe = readFileSync(new URL("./node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const problems = [];
let checks = 0;
const check = (fine, text) => { checks += 1; if (!fine) { problems.push(text); console.error("FAIL " + text); } };

const walk = (dir) => readdirSync(dir).flatMap((name) => {
  const path = join(dir, name);
  return statSync(path).isDirectory() ? walk(path) : [path];
});
const files = walk(site).map((path) => path.slice(site.length + 1)).sort();
const pages = files.filter((path) => path.endsWith(".html"));
// One of each kind is looked at closely; every page is validated.
const kind = (path) => path.replace(/^(runs|portfolios|jobs|nights)\/[^/]+\//, "$1/*/").replace(/^history\/\d.*/, "history/month.html");
const runWith = (part) => pages.find((path) => path.startsWith("runs/") && readFileSync(join(site, path), "utf8").includes(part));
const samples = [...new Map(pages.map((path) => [kind(path), path])).values()];
const failing = runWith('id="causes"');
if (failing && !samples.includes(failing)) samples.push(failing);
// Of the nights, one of each verdict.
const verdict = (path) => /<body[^>]* data-verdict="([a-z]+)"/.exec(readFileSync(join(site, path), "utf8"))?.[1];
const nights = pages.filter((path) => path.startsWith("nights/"));
samples.push(...[...new Map(nights.map((path) => [verdict(path), path])).values()].filter((path) => !samples.includes(path)));

const types = { ".html": "text/html; charset=utf-8", ".json": "application/json", ".xml": "application/atom+xml", ".svg": "image/svg+xml", ".txt": "text/plain" };
const server = createServer((request, response) => {
  const path = decodeURIComponent(new URL(request.url, "http://x").pathname);
  try {
    const body = readFileSync(join(site, path));
    response.writeHead(200, { "content-type": types[extname(path)] ?? "application/octet-stream" }).end(body);
  } catch { response.writeHead(404).end(); }
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const base = `http://127.0.0.1:${server.address().port}/`;

// HTML.
const validator = new HtmlValidate({
  extends: ["html-validate:standard"],
  rules: {
    // Style, not validity: what a template writes is not written by hand.
    "no-inline-style": "error", "long-title": "off", "no-trailing-whitespace": "off", "void-style": "off",
    "doctype-style": "off", "attribute-boolean-style": "off", "tel-non-breaking": "off", "valid-id": ["error", { relaxed: true }],
  },
});
for (const path of pages) {
  const report = await validator.validateString(readFileSync(join(site, path), "utf8"));
  const found = report.results.flatMap((result) => result.messages).filter((message) => message.severity > 1);
  check(!found.length, `${path}: ${found.slice(0, 3).map((m) => `${m.line}:${m.column} ${m.ruleId}: ${m.message}`).join("; ")}`);
}

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const open = async (path, options = {}) => {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  const asked = [];
  page.on("request", (request) => { if (!request.url().startsWith("data:")) asked.push(request.url()); });
  page.on("pageerror", (error) => check(false, `${path}: script error ${error.message}`));
  page.on("console", (message) => { if (message.type() === "error") check(false, `${path}: ${message.text()}`); });
  if (options.at) await page.clock.install({ time: new Date(options.at) });
  await page.goto(base + path);
  return { context, page, asked };
};

// Feed: well-formed, and what RFC 4287 asks for.
{
  const { context, page } = await open("404.html");
  const wrong = await page.evaluate((text) => {
    const xml = new DOMParser().parseFromString(text, "application/xml");
    if (xml.querySelector("parsererror")) return ["not well-formed: " + xml.querySelector("parsererror").textContent];
    const found = [], atom = "http://www.w3.org/2005/Atom", feed = xml.documentElement, ids = new Set();
    const one = (parent, name) => [...parent.children].filter((child) => child.localName === name && child.namespaceURI === atom);
    const rfc3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;
    if (feed.localName !== "feed" || feed.namespaceURI !== atom) found.push("no Atom feed");
    for (const item of [feed, ...one(feed, "entry")]) {
      for (const name of ["id", "title", "updated"]) if (one(item, name).length !== 1) found.push(`${item.localName} has not one ${name}`);
      const id = one(item, "id")[0]?.textContent ?? "";
      if (!/^urn:uuid:[0-9a-f-]{36}$/.test(id)) found.push(`id ${id}`);
      if (ids.has(id)) found.push(`id ${id} twice`);
      ids.add(id);
      for (const name of ["updated", "published"]) for (const at of one(item, name)) if (!rfc3339.test(at.textContent)) found.push(`${name} ${at.textContent}`);
      for (const link of one(item, "link")) if (!link.getAttribute("href")) found.push("a link without href");
    }
    if (!one(feed, "author").length && one(feed, "entry").some((entry) => !one(entry, "author").length)) found.push("no author");
    return found;
  }, readFileSync(join(site, "feed.xml"), "utf8"));
  check(!wrong.length, `feed.xml: ${wrong.join("; ")}`);
  await context.close();
}

// Each kind of page: one request, axe in both schemes and widths, no sideways scrolling, print.
for (const path of samples) {
  for (const colorScheme of ["light", "dark"]) {
    for (const [width, height] of [[1280, 800], [390, 844]]) {
      const { context, page, asked } = await open(path, { colorScheme, viewport: { width, height }, bypassCSP: true });
      check(asked.length === 1, `${path}: asks for ${asked.slice(1)}`);
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
      check(!violations.length, `${path} ${colorScheme} ${width}: ${violations.map((v) => `${v.id} (${v.nodes.length}: ${v.nodes[0].target} ${v.nodes[0].any[0]?.message ?? ""})`).join("; ")}`);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      check(wide <= 0, `${path} ${width}: ${wide} px too wide`);
      await page.screenshot({ path: join(shots, `${path.replaceAll("/", "_")}-${colorScheme}-${width}.png`), fullPage: true });
      await context.close();
    }
  }
}

// Without scripts everything stands.
{
  const { context, page } = await open("index.html", { javaScriptEnabled: false });
  const words = ["data through", "generated", "next run due", "jobs succeeded"];
  const text = await page.locator("body").innerText();
  for (const word of words) check(text.includes(word), `without scripts the index does not say "${word}"`);
  check(await page.locator("noscript").count() > 0, "without scripts the index does not say when a run would be missing");
  await context.close();
}

// Overdue turns by itself, at the minute.
const due = /data-due="([^"]+)" data-grace="(\d+)"/.exec(readFileSync(join(site, "index.html"), "utf8"));
check(due, "the index carries no due time");
if (due) {
  const late = Date.parse(due[1]) + Number(due[2]) * 1000;
  const { context, page } = await open("index.html", { at: late - 20_000 });
  check(await page.locator("#overdue").isHidden(), "the index is overdue before its grace has passed");
  await page.clock.runFor(40_000);
  check(await page.locator("#overdue").isVisible(), "the index is not overdue after its grace has passed");
  check((await page.title()).includes("OVERDUE"), "the title does not say overdue");
  check((await page.locator(".verdict .word").innerText()).toLowerCase().includes("last known"), "the verdict is not struck down to last known");
  await page.evaluate(axe).catch(() => {});
  await page.screenshot({ path: join(shots, "overdue.png") });
  await context.close();
}

// Keyboard: the grid is one tab stop, arrows move; filter, its address, theme.
{
  const { context, page } = await open("index.html");
  check(await page.locator("#grid [tabindex='0']").count() === 1, "the grid is not one tab stop");
  await page.locator("#grid tbody [tabindex='0']").focus();
  const place = () => page.evaluate(() => { const c = document.activeElement.closest("th,td"); return c ? [c.parentNode.rowIndex, c.cellIndex].join() : ""; });
  const from = await place();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowDown");
  check(from === "1,0" && await place() === "2,1", `arrows in the grid lead from ${from} to ${await place()}`);
  check(await page.locator(".strip a[tabindex='0']").count() === 1, "the strip is not one tab stop");
  const rows = await page.locator("#grid tbody tr").count();
  await page.locator(".bar input[type=search]").fill("no such portfolio");
  check((await page.locator(".bar output").innerText()) === `0 of ${rows} shown`, "the filter does not say how many are shown");
  check(page.url().includes("#?find=no"), "the filter is not in the address");
  await page.reload();
  check(await page.locator("#grid tbody tr:visible").count() === 0, "the filter is not read from the address");
  await page.locator("#theme").click();
  check(await page.evaluate(() => document.documentElement.dataset.theme) === "light", "the theme does not switch");
  await page.reload();
  check(await page.evaluate(() => document.documentElement.dataset.theme) === "light", "the theme is not kept");
  await page.keyboard.press("Tab");
  check(await page.evaluate(() => document.activeElement.className) === "skip-link", "the first tab stop is not the skip link");
  await context.close();
}

// Permalinks lead to their cell and cause; a page prints.
if (failing) {
  const { context, page } = await open(failing);
  const cause = await page.locator("[id^='cause-']").first().getAttribute("id");
  await page.goto(base + failing + "#" + cause);
  check(await page.locator(`#${cause}`).evaluate((e) => e.matches(":target") && e.getBoundingClientRect().top < innerHeight), "the permalink of a cause does not lead to it");
  const pdf = await page.pdf({ preferCSSPageSize: true });
  check(pdf.length > 10_000 && pdf.subarray(0, 5).toString() === "%PDF-", "the page does not print");
  await context.close();
}

await browser.close();
server.close();
console.log(`${pages.length} pages, ${samples.length} kinds, ${checks} checks, ${problems.length} problems`);
process.exit(problems.length ? 1 : 0);

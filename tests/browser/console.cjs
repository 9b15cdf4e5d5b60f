// The console in a real browser: reads every page, light and dark, wide and narrow, and gives an order.
//
//   node console.cjs http://127.0.0.1:9464 CHROMIUM FOLDER
//
// Writes a screenshot of each page into FOLDER, and ends with 1 where a page is not accessible, logs an error, asks another
// machine for something, or is wider than its window; or where the way to a column that drifted is longer than three clicks.
'use strict';

const fs = require('fs');
const path = require('path');
const { chromium } = require('playwright-core');
const axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const [base, executablePath, folder] = process.argv.slice(2);
const failures = [];

function check(holds, what) {
  if (!holds) failures.push(what);
}

async function json(address) {
  const answer = await fetch(base + address);
  return answer.json();
}

// A drift of all traffic with a column that has its counts, and what the pages are about.
async function subjects() {
  const verdicts = await json('/v1/verdicts?limit=1000');
  const list = Array.isArray(verdicts) ? verdicts : verdicts.items;
  const drifted = list.find((verdict) =>
    verdict.monitor === 'drift' && !verdict.segment && verdict.attribution.some((part) => part.distribution));
  if (!drifted) throw new Error('no verdict of a drift with counts is at hand');
  return drifted;
}

function watch(page, name) {
  page.on('console', (message) => check(message.type() !== 'error', `${name}: console: ${message.text()}`));
  page.on('pageerror', (error) => failures.push(`${name}: ${error}`));
  page.on('request', (request) => {
    const own = request.url().startsWith(base) || request.url().startsWith('data:');
    check(own, `${name}: a request to ${request.url()}`);
  });
}

async function inspect(page, name) {
  const wide = await page.evaluate('document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth');
  check(wide <= 0, `${name}: ${wide} pixels wider than its window`);
  await page.evaluate(axe);
  const found = await page.evaluate('axe.run(document, { resultTypes: ["violations"] })');
  for (const violation of found.violations) {
    const places = violation.nodes.slice(0, 3).map((node) => `${node.target} ${node.failureSummary}`).join(' | ');
    failures.push(`${name}: axe: ${violation.id} (${violation.impact}): ${violation.help}: ${places}`);
  }
  await page.screenshot({ path: path.join(folder, `${name}.png`), fullPage: true });
}

async function read(browser, addresses, look) {
  const context = await browser.newContext({ viewport: { width: look.width, height: 900 }, colorScheme: look.scheme });
  const page = await context.newPage();
  for (const [name, address] of addresses) {
    const title = `${name}-${look.width}-${look.scheme}`;
    page.removeAllListeners();
    watch(page, title);
    const answer = await page.goto(base + address);
    check(answer.status() === 200, `${title}: status ${answer.status()}`);
    await inspect(page, title);
  }
  await context.close();
}

async function threeClicks(browser, verdict) {
  const page = await browser.newPage();
  await page.goto(base + '/');
  await page.click(`main a[href="/models/${encodeURIComponent(verdict.model)}"]`);
  await page.click(`.strip a[href="/verdicts/${verdict.id}"]`);
  await page.click('.jumps a');
  const column = verdict.attribution[0].column;
  const heading = page.locator('.card:target h3');
  check(await heading.count() === 1 && (await heading.innerText()) === column, `three clicks do not lead to ${column}`);
  check(await heading.isVisible(), `the card of ${column} cannot be seen`);
  await page.close();
}

async function order(browser, verdict) {
  const page = await browser.newPage();
  await page.goto(`${base}/models/${encodeURIComponent(verdict.model)}`);
  await page.keyboard.press('Tab');
  check(await page.locator('.skip:focus').count() === 1, 'the first key stroke does not lead to the skip link');
  await page.fill('#retrain-reason', 'the browser test asks');
  await page.click('form[action$="/retrain"] button');
  await page.waitForSelector('[role=status]');
  check((await page.locator('[role=status]').innerText()).startsWith('Taken as '), 'the order was not taken');
  await page.close();
}

async function main() {
  fs.mkdirSync(folder, { recursive: true });
  const verdict = await subjects();
  const model = encodeURIComponent(verdict.model);
  const addresses = [
    ['fleet', '/'],
    ['model', `/models/${model}`],
    ['version', `/models/${model}/versions/${encodeURIComponent(verdict.version)}`],
    ['verdict', `/verdicts/${verdict.id}`],
  ];
  // A browser that runs as root has no sandbox.
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-background-networking'] });
  for (const width of [1280, 400]) {
    for (const scheme of ['light', 'dark']) await read(browser, addresses, { width, scheme });
  }
  await threeClicks(browser, verdict);
  await order(browser, verdict);
  await browser.close();
}

main().catch((error) => failures.push(String(error.stack))).finally(() => {
  failures.forEach((failure) => console.error(failure));
  console.log(failures.length === 0 ? `every page is in order; screenshots in ${folder}` : `${failures.length} failures`);
  process.exitCode = failures.length === 0 ? 0 : 1;
});

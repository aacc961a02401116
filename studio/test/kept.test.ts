import { afterEach, expect, test, vi } from "vitest";
import { keep, kept } from "../src/kept";
import { takeToken } from "../src/server";

afterEach(() => vi.unstubAllGlobals());

const blocked = () => {
  throw new Error("SecurityError");
};

function page(href: string, storage: () => object) {
  const location = { href };
  const replaceState = (_: unknown, __: string, path: string) => void (location.href = new URL(path, location.href).href);
  const window = Object.defineProperties({ location, history: { replaceState } }, { localStorage: { get: storage }, sessionStorage: { get: storage } });
  vi.stubGlobal("window", window);
  return location;
}

test("where the browser blocks the data of sites, texts are kept until the page is closed", () => {
  page("http://localhost/", blocked);
  expect(kept("localStorage", "a")).toBeNull();
  expect(keep("localStorage", "a", "7")).toBe(false);
  expect(kept("localStorage", "a")).toBe("7");
});

test("the token stays in the address where a reload would not find it elsewhere", () => {
  const location = page("http://localhost/?token=secret", blocked);
  expect(takeToken()).toBe("secret");
  expect(location.href).toContain("token=secret");
});

test("the token is kept for reloads and leaves the address", () => {
  const values = new Map<string, string>();
  const storage = { getItem: (key: string) => values.get(key) ?? null, setItem: (key: string, value: string) => void values.set(key, value) };
  const location = page("http://localhost/?token=secret", () => storage);
  expect(takeToken()).toBe("secret");
  expect(location.href).toBe("http://localhost/");
  expect(takeToken()).toBe("secret");
});

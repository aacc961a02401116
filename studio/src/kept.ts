type Place = "localStorage" | "sessionStorage";

const memory = new Map<string, string>();

/** What was kept in the browser; where that blocks the data of sites, what was kept since the page was loaded. */
export function kept(place: Place, key: string): string | null {
  try {
    return window[place].getItem(key);
  } catch {
    return memory.get(key) ?? null;
  }
}

/** Keep a text in the browser, or until the page is closed where it blocks that; whether a reload will find it. */
export function keep(place: Place, key: string, value: string): boolean {
  memory.set(key, value);
  try {
    window[place].setItem(key, value);
    return true;
  } catch {
    return false;
  }
}

/** FLOPs in the largest unit in which they are at least 1. */
export function flops(value: number): string {
  if (value >= 1e9) return `${(value / 1e9).toFixed(2)} G`;
  return value >= 1e6 ? `${(value / 1e6).toFixed(1)} M` : value >= 1e3 ? `${(value / 1e3).toFixed(1)} k` : `${value}`;
}

export function count(value: number): string {
  return value.toLocaleString("en-US");
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

export function mib(value: number): string {
  return `${value >= 10 ? value.toFixed(0) : value.toFixed(1)} MiB`;
}

export function change(before: number, after: number, text: (value: number) => string): string {
  if (before === after) return "±0";
  return `${after > before ? "+" : "−"}${text(Math.abs(after - before))}`;
}

export function shape(sizes: number[][], by = " × "): string {
  return sizes.map((one) => one.join(by)).join(", ");
}

/** A time left, as minutes and seconds or hours and minutes. */
export function clock(seconds: number): string {
  const minutes = Math.floor(seconds / 60);
  return minutes >= 60
    ? `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")} h`
    : `${minutes}:${String(Math.floor(seconds % 60)).padStart(2, "0")} min`;
}

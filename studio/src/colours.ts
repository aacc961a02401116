/** Nine colours of viridis, between which is interpolated: uniform to the eye, and readable in grey. */
const VIRIDIS = ["440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725"].map(
  (hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)) as [number, number, number],
);

/** The colour of a value from 0 to 1. */
export function viridis(value: number): [number, number, number] {
  const at = Math.min(Math.max(value, 0), 1) * (VIRIDIS.length - 1);
  const i = Math.min(Math.floor(at), VIRIDIS.length - 2);
  const [low, high] = [VIRIDIS[i]!, VIRIDIS[i + 1]!];
  return [0, 1, 2].map((k) => Math.round(low[k]! + (high[k]! - low[k]!) * (at - i))) as [number, number, number];
}

/** Colours of classes, of equal lightness and far apart in hue. */
export function classColour(id: number): string {
  return `oklch(0.82 0.16 ${(id * 137.5 + 60) % 360})`;
}

/** float32 values in little endian from base64. */
export function decode(text: string): Float32Array {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

import { expect, test } from "vitest";
import { decode, viridis } from "../src/colours";
import { change, flops, mib } from "../src/numbers";

test("float32 values are read in little endian", () => {
  expect([...decode(btoa("\x00\x00\x80\x3f\x00\x00\x20\xc0"))]).toEqual([1, -2.5]);
});

test("the scale begins dark and ends bright, also for values outside of it", () => {
  expect(viridis(0)).toEqual([0x44, 0x01, 0x54]);
  expect(viridis(7)).toEqual(viridis(1));
  expect(viridis(0.5)).toEqual([0x21, 0x91, 0x8c]);
});

test("numbers have their unit and their sign", () => {
  expect(flops(4.512e9)).toBe("4.51 G");
  expect(flops(530)).toBe("530");
  expect(mib(9.96)).toBe("10.0 MiB");
  expect(change(5, 3, String)).toBe("−2");
  expect(change(5, 5, String)).toBe("±0");
});

import { useCallback, useContext, useEffect, useState } from "react";
import { get } from "./server";
import { LostContext } from "./settings";

/** What work on the server has come to: looked at once, and every so many milliseconds while it is running. */
export function useWatched<T extends { state: string }>(path: string, period: number, fail: (error: unknown) => void) {
  const [found, setFound] = useState<T | null>(null);
  const look = useCallback(() => void get<T | null>(path).then(setFound, fail), [path, fail]);
  const lost = useContext(LostContext);
  useEffect(() => {
    if (!lost) look();
  }, [look, lost]);
  const running = found?.state === "running" && !lost;
  useEffect(() => {
    if (!running) return;
    const timer = setInterval(look, period);
    return () => clearInterval(timer);
  }, [running, look, period]);
  return { found, setFound, running, look };
}

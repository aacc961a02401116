import { useEffect, useState } from "react";
import { blobAddress } from "./server";

/** An address for an image of the server, "" until it is there; it is released with the component. */
export function useBlob(path: string): string {
  const [address, setAddress] = useState("");
  useEffect(() => {
    const stop = new AbortController();
    let made = "";
    blobAddress(path, stop.signal)
      .then((found) => {
        made = found;
        if (stop.signal.aborted) URL.revokeObjectURL(found);
        else setAddress(found);
      })
      .catch(() => undefined);
    return () => {
      stop.abort();
      URL.revokeObjectURL(made);
    };
  }, [path]);
  return address;
}

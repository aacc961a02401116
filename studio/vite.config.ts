import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import react from "@vitejs/plugin-react";
import license from "rollup-plugin-license";
import { defineConfig, type Plugin } from "vite";

const PAGE = "../src/regard/studio/page";
const ALLOWED = { test: "(MIT OR ISC OR BSD-3-Clause)", failOnViolation: true, failOnUnlicensed: true };

/** Write a hash of all sources next to the build, by which a test sees that the build is that of the sources. */
function stamp(): Plugin {
  return {
    name: "stamp",
    writeBundle() {
      const sources = readdirSync("src").map((name) => `src/${name}`);
      const files = [...sources, "index.html", "package-lock.json", "vite.config.ts"].sort();
      const hash = createHash("sha256");
      for (const file of files) hash.update(file).update("\0").update(readFileSync(file)).update("\0");
      writeFileSync(`${PAGE}/sources.sha256`, `${hash.digest("hex")}\n`);
    },
  };
}

// The page is part of the Python package, so that an installation needs no Node. Names without hashes keep the
// differences between two builds readable.
// The licences of the packages in it require their texts in every copy.
export default defineConfig({
  plugins: [
    react(),
    license({ thirdParty: { output: resolve("../LICENSES-third-party.txt"), allow: ALLOWED } }),
    stamp(),
  ],
  build: {
    outDir: PAGE,
    emptyOutDir: true,
    target: "es2022",
    rollupOptions: {
      output: {
        entryFileNames: "studio.js",
        chunkFileNames: "[name].js",
        assetFileNames: "studio[extname]",
      },
    },
  },
});

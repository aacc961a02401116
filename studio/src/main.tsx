import "@xyflow/react/dist/style.css";
import "./style.css";
import "./graph.css";
import "./panels.css";
import "./work.css";
import { ReactFlowProvider } from "@xyflow/react";
import { StrictMode, useLayoutEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App";
import { keep } from "./kept";
import { takeToken } from "./server";
import { firstLanguage, LanguageContext } from "./settings";
import { dictionaries } from "./words";

takeToken();

function Root() {
  const [language, setLanguage] = useState(firstLanguage);
  useLayoutEffect(() => {
    keep("localStorage", "regard-language", language);
    document.documentElement.lang = language === "zh" ? "zh-Hant-TW" : "en";
    document.title = dictionaries[language].title;
  }, [language]);
  return (
    <LanguageContext.Provider value={language}>
      <App language={language} setLanguage={setLanguage} />
    </LanguageContext.Provider>
  );
}

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <ReactFlowProvider>
      <Root />
    </ReactFlowProvider>
  </StrictMode>,
);

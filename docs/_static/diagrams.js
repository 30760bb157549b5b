// Draws each code block in the language mermaid, if mermaid is there.
document.addEventListener("DOMContentLoaded", async () => {
  if (!window.mermaid) return;
  const prefersDark = window.matchMedia("(prefers-color-scheme: dark)").matches;
  const theme = document.body.dataset.theme;
  const isDark = theme === "dark" || (theme !== "light" && prefersDark);
  window.mermaid.initialize({ startOnLoad: false, theme: isDark ? "dark" : "neutral" });
  const diagrams = [...document.querySelectorAll(".highlight-mermaid")].map((block) => {
    const diagram = document.createElement("pre");
    diagram.className = "mermaid";
    diagram.textContent = block.querySelector("pre").textContent;
    block.replaceWith(diagram);
    return diagram;
  });
  await window.mermaid.run({ nodes: diagrams });
  // On a narrow screen a wide diagram scrolls, because its text could not be read if it shrank to fit.
  for (const drawing of document.querySelectorAll("pre.mermaid svg")) {
    drawing.style.minWidth = `min(${drawing.style.maxWidth}, 44rem)`;
  }
});

// The reader's choice of light or dark, before anything is drawn.
"use strict";
try {
  const theme = localStorage.getItem("micelio-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch { /* a browser that remembers nothing follows the system */ }

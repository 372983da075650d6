// Light or dark: as the system says, or as somebody has chosen on this machine.
const KEY = "sse-theme";
const select = document.getElementById("theme");

function kept() {
  try {
    return localStorage.getItem(KEY) ?? "auto";
  } catch {
    return "auto";
  }
}

function apply(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

const theme = ["light", "dark"].includes(kept()) ? kept() : "auto";
apply(theme);
select.value = theme;
select.addEventListener("change", () => {
  apply(select.value);
  try {
    localStorage.setItem(KEY, select.value);
  } catch {
    // Where nothing can be kept it holds for this page.
  }
});

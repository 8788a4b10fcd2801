// What every page does: light and dark, where the reader is, and pictures of which a list chooses one.
(() => {
  "use strict";
  const root = document.documentElement;

  // Light and dark: the system's wish until the reader chooses; print is always light.
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const store = { get: () => { try { return localStorage.getItem("estran-theme"); } catch { return null; } },
    set: (value) => { try { localStorage.setItem("estran-theme", value); } catch { /* a page without storage forgets */ } } };
  const dress = (theme) => { root.style.colorScheme = theme || "light dark"; dispatchEvent(new Event("estran-theme")); };
  const toggle = document.getElementById("theme");
  let theme = store.get();
  toggle.hidden = false;
  toggle.addEventListener("click", () => {
    theme = (theme || (dark.matches ? "dark" : "light")) === "dark" ? "light" : "dark";
    store.set(theme);
    dress(theme);
  });
  if (theme) dress(theme);
  dark.addEventListener("change", () => { if (!theme) dispatchEvent(new Event("estran-theme")); });
  addEventListener("beforeprint", () => dress("light"));
  addEventListener("afterprint", () => dress(theme));

  // The bar says where the reader is.
  const anchors = new Map([...document.querySelectorAll("nav .anchors a")].map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const link = anchors.get(entry.target.id);
      if (!link || !entry.isIntersecting) continue;
      anchors.forEach((other) => other.removeAttribute("aria-current"));
      link.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-15% 0px -75% 0px" });
  document.querySelectorAll("main > section").forEach((section) => seen.observe(section));

  // A list shows the one of its pictures that is chosen; without scripts all are shown.
  document.querySelectorAll("select[data-choose]").forEach((list) => {
    const shown = () => document.querySelectorAll(`[data-of="${list.dataset.choose}"]`).forEach((picture) => {
      picture.hidden = picture.dataset.name !== list.value;
    });
    list.closest("[hidden]").hidden = false;
    list.addEventListener("change", shown);
    shown();
  });
})();

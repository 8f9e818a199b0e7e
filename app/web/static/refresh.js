// Reloads the numbers every few seconds and keeps scroll position and focus.
(() => {
  const seconds = Number(document.currentScript.dataset.seconds);
  const refresh = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
      if (answer.redirected) return location.assign(answer.url); // logged out in the meantime
      if (!answer.ok) throw new Error(answer.status);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
      const now = document.querySelector("main");
      const scrolled = [...now.querySelectorAll(".scroll")].map((part) => [part.getAttribute("aria-label"), part.scrollLeft]);
      const focused = document.activeElement?.closest(".scroll")?.getAttribute("aria-label");
      now.replaceChildren(...fresh.childNodes);
      for (const part of now.querySelectorAll(".scroll")) {
        const label = part.getAttribute("aria-label");
        part.scrollLeft = scrolled.find(([name]) => name === label)?.[1] ?? 0;
        if (label === focused) part.focus({ preventScroll: true });
      }
    } catch {
      const away = document.getElementById("away");
      if (away) away.hidden = false;
      const badge = document.querySelector(".badge");
      if (badge) [badge.className, badge.textContent] = ["badge bad", "no answer"];
    }
  };
  setInterval(refresh, seconds * 1000);
  document.addEventListener("visibilitychange", refresh);
})();

// A finished run, moment by moment: a slider over its clock, and all figures as they were then.
globalThis.estranReplay = (() => {
  "use strict";
  const { byId, ask, complain } = estranPage;
  const key = document.body.dataset.key;
  const TICK = 250; // ms from one moment to the next while it plays
  const slider = byId("replay-at"), play = byId("replay-play"), whole = byId("replay-whole");
  let show = null, wanted = null, asking = false, timer = 0, end = 0;

  const words = (at) => { byId("replay-now").textContent = at === null ? `whole run, ${end.toFixed(1)} s` : `${at.toFixed(1)} of ${end.toFixed(1)} s`; };

  // One question at a time: what was wanted meanwhile comes next, and moments between are left out.
  const go = async (at) => {
    wanted = Math.min(Math.max(at, 0), end);
    slider.value = wanted;
    words(wanted);
    whole.disabled = false;
    if (asking) return;
    asking = true;
    try {
      for (let next = wanted; next !== null; ) {
        const now = await ask(`/api/run/${key}/moment?at=${next}`);
        if (wanted !== null) show(now, next);
        if (wanted === next) break;
        next = wanted;
      }
    } catch (error) {
      stop();
      complain(error);
    } finally {
      asking = false;
    }
  };
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    play.textContent = "▶ Replay";
    play.setAttribute("aria-pressed", "false");
  };
  const start = () => {
    if (wanted === null || wanted >= end) go(0);
    play.textContent = "❚❚ Pause";
    play.setAttribute("aria-pressed", "true");
    timer = setInterval(() => {
      if (asking) return; // it goes no faster than it can be shown
      const next = wanted + (Number(byId("replay-speed").value) * TICK) / 1000;
      go(next);
      if (next >= end) stop();
    }, TICK);
  };
  const toggle = () => (timer ? stop() : start());
  const step = (by) => {
    stop();
    go((wanted ?? end) + by);
  };
  const all = () => {
    stop();
    wanted = null;
    slider.value = end;
    whole.disabled = true;
    words(null);
    show(null, null);
  };

  play.addEventListener("click", toggle);
  whole.addEventListener("click", all);
  slider.addEventListener("input", () => {
    stop();
    go(Number(slider.value));
  });
  byId("replay").addEventListener("submit", (event) => event.preventDefault());

  // `shown` is given a moment's figures and the moment, or nothing for the whole run.
  const offer = (seconds, shown) => {
    if (show || !(seconds > 0)) return;
    show = shown;
    end = seconds;
    slider.max = end;
    slider.value = end;
    words(null);
    byId("replay").hidden = false;
    estranKeys.add("p", "replay, or pause", toggle);
    estranKeys.add(",", "a second back", () => step(-1));
    estranKeys.add(".", "a second on", () => step(1));
    estranKeys.add("w", "the whole run", all);
  };
  return { offer, at: () => wanted };
})();

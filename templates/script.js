"use strict";
(function () {
  var root = document.documentElement, body = document.body;
  var all = function (q) { return Array.prototype.slice.call(document.querySelectorAll(q)); };
  var words = function (ms) {
    var s = Math.round(Math.abs(ms) / 1000), m = Math.round(s / 60), h = Math.round(m / 60), d = Math.round(h / 24);
    return s < 90 ? s + " s" : m < 90 ? m + " min" : h < 48 ? h + " h" : d + " days";
  };

  // Theme: the system's, light, dark.
  var button = document.getElementById("theme"), order = ["system", "light", "dark"], theme = "system";
  try { theme = localStorage.getItem("theme") || "system"; } catch (e) { /* not kept */ }
  var paint = function () {
    if (order.indexOf(theme) < 1) { theme = "system"; root.removeAttribute("data-theme"); } else { root.setAttribute("data-theme", theme); }
    button.textContent = "Theme: " + theme;
  };
  if (button) {
    button.hidden = false;
    button.addEventListener("click", function () {
      theme = order[(order.indexOf(theme) + 1) % 3];
      try { localStorage.setItem("theme", theme); } catch (e) { /* not kept */ }
      paint();
    });
    paint();
  }

  // Ages beside the stamps, local time on hovering, and the truth about a run that has not come.
  var title = document.title;
  var tick = function () {
    var now = Date.now();
    all("time[data-age]").forEach(function (time) {
      var at = Date.parse(time.getAttribute("datetime")), age = time.nextElementSibling;
      if (isNaN(at)) { return; }
      if (!age || age.className !== "age dim") {
        age = document.createElement("span");
        age.className = "age dim";
        time.parentNode.insertBefore(age, time.nextSibling);
        time.title = new Date(at).toLocaleString();
      }
      age.textContent = at <= now ? " (" + words(now - at) + " ago)" : " (in " + words(at - now) + ")";
    });
    all("[data-lease]").forEach(function (cell) {
      if (Date.parse(cell.getAttribute("data-lease")) < now) {
        cell.textContent = "◇ silent: its lease has passed, stuck or dead";
        cell.className = "m";
      }
    });
    var due = Date.parse(body.getAttribute("data-due")), grace = 1000 * Number(body.getAttribute("data-grace") || 0);
    var banner = document.getElementById("overdue");
    if (banner && !isNaN(due) && now > due + grace) {
      root.classList.add("late");
      banner.hidden = false;
      banner.querySelector("span").textContent = words(now - due - grace) + " past its grace of " + words(grace);
      document.title = "◇ OVERDUE: " + title;
      all(".verdict .sign").forEach(function (sign) { sign.textContent = "◇"; });
      all(".verdict .word").forEach(function (word) { word.textContent = "overdue; last known"; });
      all("link[rel=icon]").forEach(function (icon) { icon.href = icon.getAttribute("data-late"); });
    }
  };
  tick();
  setInterval(tick, 15000);

  // Filter of a grid.
  all("[data-filter]").forEach(function (bar) {
    var rows = all("#" + bar.getAttribute("data-filter") + " tbody tr");
    var text = bar.querySelector("input[type=search]"), only = bar.querySelector("input[type=checkbox]"), out = bar.querySelector("output");
    var apply = function () {
      var want = text.value.trim().toLowerCase(), shown = 0;
      rows.forEach(function (row) {
        var fits = row.firstElementChild.textContent.toLowerCase().indexOf(want) >= 0 && (!only.checked || row.hasAttribute("data-problem"));
        row.hidden = !fits;
        shown += fits ? 1 : 0;
      });
      out.textContent = shown + " of " + rows.length + " shown";
    };
    bar.hidden = false;
    text.addEventListener("input", apply);
    only.addEventListener("change", apply);
    apply();
  });
})();

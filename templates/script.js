"use strict";
(function () {
  var root = document.documentElement, body = document.body;
  var all = function (q, e) { return Array.prototype.slice.call((e || document).querySelectorAll(q)); };
  var words = function (ms) {
    var s = Math.round(Math.abs(ms) / 1000), m = Math.round(s / 60), h = Math.round(m / 60), d = Math.round(h / 24);
    return s < 90 ? s + " s" : m < 90 ? m + " min" : h < 48 ? h + " h" : d + " days";
  };

  // Theme: the system's, light, dark. A browser that keeps nothing, or a page from a file, refuses to store it.
  var button = document.getElementById("theme"), order = ["system", "light", "dark"], theme = "system";
  try { theme = localStorage.getItem("theme") || "system"; } catch (e) { }
  var paint = function () {
    if (order.indexOf(theme) < 1) { theme = "system"; root.removeAttribute("data-theme"); } else { root.setAttribute("data-theme", theme); }
    button.textContent = "Theme: " + theme;
  };
  button.hidden = false;
  button.addEventListener("click", function () {
    theme = order[(order.indexOf(theme) + 1) % 3];
    try { localStorage.setItem("theme", theme); } catch (e) { }
    paint();
  });
  paint();

  // Ages beside the stamps, local time on hovering, and the truth about a run that has not come.
  var title = document.title, told = false;
  var tick = function () {
    var now = Date.now();
    all("time[data-age]").forEach(function (time) {
      var at = Date.parse(time.getAttribute("datetime")), age = time.nextElementSibling;
      if (isNaN(at)) { return; }
      if (!age || age.className !== "age dim") {
        age = document.createElement("span");
        age.className = "age dim";
        time.parentNode.insertBefore(age, time.nextSibling);
        time.title = new Date(at).toLocaleString() + " local time";
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
      banner.querySelector("span").textContent = words(now - due - grace) + " past its grace of " + words(grace);
      if (told) { return; }
      told = true;
      root.classList.add("late");
      banner.hidden = false;
      document.title = "◇ OVERDUE: " + title;
      all(".verdict .sign").forEach(function (sign) { sign.textContent = "◇"; });
      all(".verdict .word").forEach(function (word) { word.textContent = "overdue; last known"; });
      all("link[rel=icon]").forEach(function (icon) { icon.href = icon.getAttribute("data-late"); });
    }
  };
  tick();
  setInterval(tick, 15000);

  // Filter of a grid; what is asked for stands in the address, as #?find=text&any=f+m.
  all("[data-filter]").forEach(function (bar) {
    var rows = all("#" + bar.getAttribute("data-filter") + " tbody tr");
    var text = bar.querySelector("input[type=search]"), boxes = all("input[type=checkbox]", bar), out = bar.querySelector("output");
    var apply = function (write) {
      var want = text.value.trim().toLowerCase(), shown = 0, on = boxes.filter(function (b) { return b.checked; });
      var any = on.map(function (b) { return b.getAttribute("data-any"); }).join(" ").split(" ").filter(Boolean);
      rows.forEach(function (row) {
        var head = row.firstElementChild, said = (head.textContent + " " + (head.getAttribute("data-words") || "")).toLowerCase();
        var fits = said.indexOf(want) >= 0 && (!any.length || any.some(function (c) { return row.querySelector("td." + c); }));
        row.hidden = !fits;
        shown += fits ? 1 : 0;
      });
      out.textContent = shown + " of " + rows.length + " shown";
      if (write) {
        var asked = new URLSearchParams();
        if (want) { asked.set("find", want); }
        if (on.length) { asked.set("any", on.map(function (b) { return boxes.indexOf(b); }).join(" ")); }
        var state = asked.toString();
        try { history.replaceState(null, "", state ? "#?" + state : location.pathname + location.search); } catch (e) { }
      }
    };
    var read = function () {
      if (location.hash.slice(0, 2) !== "#?") { return; }
      var asked = new URLSearchParams(location.hash.slice(2)), any = (asked.get("any") || "").split(" ");
      text.value = asked.get("find") || "";
      boxes.forEach(function (b, n) { b.checked = any.indexOf(String(n)) >= 0; });
    };
    // Many rows: those with a problem first and alone, if there are any and nothing on the page is asked for.
    if (rows.length > 100 && !location.hash && all("#grid td.f, #grid td.m").length) { boxes[0].checked = true; }
    bar.hidden = false;
    text.addEventListener("input", function () { apply(true); });
    boxes.forEach(function (b) { b.addEventListener("change", function () { apply(true); }); });
    window.addEventListener("hashchange", function () { read(); apply(false); });
    read();
    apply(false);
  });

  // Tables that can be sorted by a click on a head.
  all("table.sort").forEach(function (table) {
    all("thead th", table).forEach(function (head, column) {
      var sort = document.createElement("button");
      sort.type = "button";
      while (head.firstChild) { sort.appendChild(head.firstChild); }
      head.appendChild(sort);
      sort.addEventListener("click", function () {
        var up = head.getAttribute("aria-sort") !== "ascending", list = table.tBodies[0];
        all("th", head.parentNode).forEach(function (other) { other.removeAttribute("aria-sort"); });
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        all("tr", list).map(function (row) { return [row, row.cells[column].textContent.trim()]; }).sort(function (a, b) {
          return (up ? 1 : -1) * a[1].localeCompare(b[1], "en", { numeric: true });
        }).forEach(function (pair) { list.appendChild(pair[0]); });
      });
    });
  });

  // Grids and strips are one tab stop each; arrows move inside.
  var stop = function (items, step) {
    if (!items.length) { return; }
    items.forEach(function (item, n) {
      item.setAttribute("tabindex", n ? -1 : 0);
      item.addEventListener("keydown", function (event) {
        var to = step(item, event.key, items);
        if (!to) { return; }
        event.preventDefault();
        items.forEach(function (other) { other.setAttribute("tabindex", -1); });
        to.setAttribute("tabindex", 0);
        to.focus();
      });
    });
  };
  all(".g tbody").forEach(function (grid) {
    var of = function (cell) { return cell.querySelector("a") || cell; };
    stop(all("th, td", grid).map(of), function (item, key) {
      var cell = item.closest("th, td"), row = cell.parentNode, at = cell.cellIndex, side = { ArrowUp: "previous", ArrowDown: "next" }[key];
      if (side) {
        do { row = row[side + "ElementSibling"]; } while (row && row.hidden);
        return row && of(row.cells[at]);
      }
      var next = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: row.cells.length - 1 }[key];
      return row.cells[next] && of(row.cells[next]);
    });
  });
  all(".strip").forEach(function (strip) {
    stop(all("a", strip), function (item, key, items) {
      var at = items.indexOf(item);
      return items[{ ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: items.length - 1 }[key]];
    });
  });
})();

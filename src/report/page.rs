//! What a batch came to as one HTML page: nothing is fetched, nothing is run, and all that servers said is text.

use jiff::Timestamp;

use super::{
    Reading,
    plot::{Html, bars, over_time},
    tally::{Tally, grouped, plural, rounded, share, spoken, time_of},
};
use crate::{
    ledger::Counts,
    mail::{State, clean},
};

const STYLE: &str = include_str!("page.css");

/// The page of what a file tells; `name` is the file's.
pub fn page(reading: &Reading, name: &str) -> String {
    let tally = &reading.tally;
    let mut html = Html::default();
    html.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n");
    html.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n");
    html.raw(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n",
    );
    html.raw("<meta name=\"color-scheme\" content=\"light dark\"/>\n<title>");
    html.text(&format!("{name}: {}", plural(tally.counts().total(), "recipient")));
    html.raw("</title>\n<style>\n").raw(STYLE).raw("</style>\n</head>\n<body>\n");
    head(&mut html, reading, name);
    tiles(&mut html, &tally.counts());
    if tally.timeline().start().is_some() {
        time_section(&mut html, tally);
    }
    if tally.latency().count() > 0 {
        latency_section(&mut html, tally);
    }
    failures_section(&mut html, tally);
    reasons_section(&mut html, tally);
    unknown_section(&mut html, reading, name);
    html.raw("</body>\n</html>\n");
    html.into_text()
}

fn head(html: &mut Html, reading: &Reading, name: &str) {
    html.raw("<header>\n<h1>").text(&plural(reading.tally.counts().total(), "recipient")).raw("</h1>\n<p>");
    let moments = (reading.first.and_then(time_of), reading.last.and_then(time_of));
    if let (Some(first), Some(last)) = moments {
        const WHOLE: &str = "%-d %B %Y, %H:%M:%S";
        let shown = |time: Timestamp, format: &str| time.strftime(format).to_string();
        html.text(&shown(first, WHOLE));
        let is_same_day = shown(first, "%F") == shown(last, "%F");
        if shown(first, WHOLE) != shown(last, WHOLE) {
            html.text(&format!(" to {}", shown(last, if is_same_day { "%H:%M:%S" } else { WHOLE })));
        }
        html.raw(" UTC");
    }
    if let Some(rate) = reading.tally.rate() {
        let worked = spoken((reading.tally.seconds() * 1000.0) as u64);
        html.text(&format!(" · {worked} of work · {} per second", rounded(rate)));
    }
    if reading.tally.counts().total() == 0 {
        html.raw("</p>\n<p>Nothing has an outcome yet.");
    }
    html.raw("</p>\n<p class=\"soft\"><code>").text(name).raw("</code>");
    if !reading.run.is_empty() {
        html.raw(" · run <code>").text(&reading.run).raw("</code>");
    }
    html.raw("</p>\n</header>\n");
}

fn tiles(html: &mut Html, counts: &Counts) {
    html.raw("<dl class=\"tiles\">\n");
    for state in State::ALL {
        let count = counts.of(state);
        if count == 0 && matches!(state, State::Skipped | State::Queued) {
            continue;
        }
        html.raw("<div class=\"tile ")
            .raw(state.as_str())
            .raw("\"><dt>")
            .raw(state.as_str())
            .raw("</dt><dd class=\"number\">");
        html.text(&grouped(count))
            .raw("</dd><dd class=\"soft\">")
            .text(&share(count, counts.total()))
            .raw("</dd></div>\n");
    }
    html.raw("</dl>\n");
}

fn time_section(html: &mut Html, tally: &Tally) {
    let timeline = tally.timeline();
    let width = if timeline.width() == 1_000 { "second".to_owned() } else { spoken(timeline.width()) };
    html.raw("<section>\n<h2>Outcomes over time</h2>\n");
    over_time(html, timeline, &State::ALL[..4], &format!("Recipients per {width}"), false);
    let counts = tally.counts();
    if counts.accepted > 0 && counts.deferred + counts.failed + counts.unknown > 0 {
        over_time(html, timeline, &State::ALL[1..4], &format!("Not accepted, per {width}"), true);
    }
    html.raw("<details><summary>As a table</summary>\n<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">after</th>");
    for state in &State::ALL[..4] {
        html.raw("<th scope=\"col\" class=\"count\">").raw(state.as_str()).raw("</th>");
    }
    html.raw("</tr></thead>\n<tbody>\n");
    for (index, bin) in timeline.bins().iter().enumerate().filter(|(_, bin)| bin.total() > 0) {
        html.raw("<tr><th scope=\"row\">").text(&spoken(index as u64 * timeline.width())).raw("</th>");
        for state in &State::ALL[..4] {
            html.raw("<td class=\"count\">").text(&grouped(bin.of(*state))).raw("</td>");
        }
        html.raw("</tr>\n");
    }
    html.raw("</tbody></table></div></details>\n</section>\n");
}

fn latency_section(html: &mut Html, tally: &Tally) {
    let latency = tally.latency();
    html.raw("<section>\n<h2>How long they took</h2>\n<p>");
    let longest = spoken(latency.longest());
    if latency.count() == 1 {
        html.text(&format!("It took {longest}."));
    } else {
        let [half, most, nearly_all] = [0.5, 0.9, 0.99].map(|share| spoken(latency.percentile(share)));
        html.text(&format!("Half took {half} or less, 90 % {most}, 99 % {nearly_all}; the longest took {longest}."));
    }
    html.raw("</p>\n");
    let rows: Vec<(String, u64)> = latency
        .steps()
        .into_iter()
        .map(|(from, below, count)| match (from, below) {
            (0, _) => ("under 1 ms".to_owned(), count),
            (_, u64::MAX) => (format!("{} or more", spoken(from)), count),
            _ => (format!("{} to {}", spoken(from), spoken(below)), count),
        })
        .collect();
    bars(html, "From taking a message in hand to its outcome", ["time", "recipients"], &rows, 0);
    html.raw("</section>\n");
}

fn failures_section(html: &mut Html, tally: &Tally) {
    let (domains, other_domains) = tally.domains();
    let (codes, other_codes) = tally.codes();
    if codes.is_empty() {
        return;
    }
    html.raw("<div class=\"pair\">\n");
    for (title, name, rows, others) in [
        ("Not accepted, by domain", "domain", &domains, other_domains),
        ("Not accepted, by reply", "reply", &codes, other_codes),
    ] {
        if !rows.is_empty() {
            html.raw("<section>\n<h2>").raw(title).raw("</h2>\n");
            bars(html, "", [name, "recipients"], rows, others);
            html.raw("</section>\n");
        }
    }
    html.raw("</div>\n");
}

fn reasons_section(html: &mut Html, tally: &Tally) {
    let (reasons, others) = tally.reasons();
    if reasons.is_empty() {
        return;
    }
    html.raw(
        "<section>\n<h2>Reasons</h2>\n<table>\n<caption>… stands for what is different for each recipient</caption>\n",
    );
    html.raw("<thead><tr><th scope=\"col\" class=\"count\">recipients</th><th scope=\"col\">state</th><th scope=\"col\">words</th></tr></thead>\n<tbody>\n");
    for (reason, count) in &reasons {
        html.raw("<tr><td class=\"count\">")
            .text(&grouped(*count))
            .raw("</td><td><span class=\"mark ")
            .raw(reason.state);
        html.raw("\">")
            .raw(reason.state)
            .raw("</span></td><td class=\"name\">")
            .text(&reason.words())
            .raw("</td></tr>\n");
    }
    if others > 0 {
        html.raw("<tr><td class=\"count\">").text(&grouped(others)).raw("</td><td></td><td>other reasons</td></tr>\n");
    }
    html.raw("</tbody>\n</table>\n</section>\n");
}

fn unknown_section(html: &mut Html, reading: &Reading, name: &str) {
    let count = reading.tally.counts().unknown;
    if count == 0 {
        return;
    }
    html.raw("<section>\n<h2>Unknown</h2>\n<p>The last byte had left and no reply came, so nobody can know whether these arrived. ");
    html.raw("Nothing is sent again to them unless you say so.</p>\n<ul>\n");
    for line in &reading.unknown {
        html.raw("<li>").text(line).raw("</li>\n");
    }
    html.raw("</ul>\n");
    let more = count.saturating_sub(reading.unknown.len() as u64);
    if more > 0 {
        let line = format!("And {} more; all of them: mailsend report {} --list unknown", grouped(more), clean(name));
        html.raw("<p class=\"soft\">").text(&line).raw("</p>\n");
    }
    html.raw("</section>\n");
}

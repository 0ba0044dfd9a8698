//! Parts of a page: escaped text, and plots as SVG whose numbers stand beside them as text.

use std::fmt::Write;

use super::{
    histogram::Timeline,
    tally::{grouped, spoken},
};
use crate::mail::{State, clean};

/// HTML as it grows.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Adds markup of our own.
    pub fn raw(&mut self, markup: &str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Adds text, whatever is in it.
    pub fn text(&mut self, text: &str) -> &mut Self {
        for c in clean(text).chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                c => self.0.push(c),
            }
        }
        self
    }

    /// Adds a number.
    fn number(&mut self, number: f64) -> &mut Self {
        // Text takes everything.
        let _ = write!(self.0, "{number:.3}");
        self
    }

    /// The whole.
    pub fn into_text(self) -> String {
        self.0
    }
}

/// Stacked bars of these states over time. Its labels are text beside the picture, so that they stay readable where it
/// is small.
pub(super) fn over_time(html: &mut Html, timeline: &Timeline, states: &[State], title: &str, is_low: bool) {
    let sum = |bin: &crate::ledger::Counts| states.iter().map(|state| bin.of(*state)).sum::<u64>();
    let top = nice(timeline.bins().iter().map(sum).max().unwrap_or(0));
    let end = timeline.bins().len() as u64 * timeline.width();
    html.raw("<figure>\n<figcaption class=\"soft\">")
        .text(title)
        .raw("</figcaption>\n<div class=\"y\" aria-hidden=\"true\"><span>");
    html.text(&grouped(top)).raw("</span><span>0</span></div>\n<svg class=\"plot");
    html.raw(if is_low { " low" } else { "" });
    html.raw("\" role=\"img\" preserveAspectRatio=\"none\" viewBox=\"0 0 ")
        .number(timeline.bins().len() as f64)
        .raw(" 100\">\n<title>");
    html.text(title).raw("</title>\n<desc>");
    let totals: Vec<String> = states
        .iter()
        .map(|state| format!("{} {state}", grouped(timeline.bins().iter().map(|bin| bin.of(*state)).sum())))
        .collect();
    html.text(&format!("Stacked bars over {}: {}. The table below has the numbers.", spoken(end), totals.join(", ")));
    html.raw("</desc>\n");
    for (index, bin) in timeline.bins().iter().enumerate().filter(|(_, bin)| sum(bin) > 0) {
        html.raw("<g><title>");
        let words: Vec<String> = states
            .iter()
            .filter(|state| bin.of(**state) > 0)
            .map(|state| format!("{} {state}", grouped(bin.of(*state))))
            .collect();
        html.text(&format!("after {}: {}", spoken(index as u64 * timeline.width()), words.join(", "))).raw("</title>");
        let mut y = 100.0;
        for state in states.iter().filter(|state| bin.of(**state) > 0) {
            let height = bin.of(*state) as f64 * 100.0 / top as f64;
            y -= height;
            html.raw("<rect class=\"")
                .raw(state.as_str())
                .raw("\" x=\"")
                .number(index as f64 + 0.06)
                .raw("\" y=\"")
                .number(y);
            html.raw("\" width=\"0.88\" height=\"").number(height).raw("\"/>");
        }
        html.raw("</g>\n");
    }
    html.raw("</svg>\n<div class=\"x\" aria-hidden=\"true\"><span>start</span><span>");
    html.text(&spoken(end / 2)).raw("</span><span>").text(&spoken(end)).raw("</span></div>\n");
    html.raw("<figcaption class=\"legend\">");
    for state in states {
        html.raw("<span class=\"").raw(state.as_str()).raw("\">").raw(state.as_str()).raw("</span>");
    }
    html.raw("</figcaption>\n</figure>\n");
}

/// A table with a bar for each number.
pub(super) fn bars(html: &mut Html, caption: &str, names: [&str; 2], rows: &[(String, u64)], others: u64) {
    let top = rows.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    html.raw("<table class=\"bars\">\n");
    if !caption.is_empty() {
        html.raw("<caption>").text(caption).raw("</caption>\n");
    }
    html.raw("<thead><tr><th scope=\"col\">").raw(names[0]).raw("</th><td></td><th scope=\"col\" class=\"count\">");
    html.raw(names[1]).raw("</th></tr></thead>\n<tbody>\n");
    for (name, count) in rows {
        html.raw("<tr><th scope=\"row\" class=\"name\">").text(name);
        html.raw("</th><td><svg aria-hidden=\"true\"><rect class=\"bar\" width=\"");
        html.number(*count as f64 * 100.0 / top as f64)
            .raw("%\" height=\"100%\" rx=\"3\"/></svg></td><td class=\"count\">");
        html.text(&grouped(*count)).raw("</td></tr>\n");
    }
    if others > 0 {
        html.raw("<tr><th scope=\"row\">all others</th><td></td><td class=\"count\">")
            .text(&grouped(others))
            .raw("</td></tr>\n");
    }
    html.raw("</tbody>\n</table>\n");
}

/// The next number that is 1, 2 or 5 times a power of ten, for the end of an axis.
fn nice(number: u64) -> u64 {
    let mut power = 1_u64;
    loop {
        for factor in [1, 2, 5] {
            match power.checked_mul(factor) {
                Some(end) if end < number => {}
                Some(end) => return end,
                None => return u64::MAX,
            }
        }
        power = power.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_axes() {
        assert_eq!([0, 1, 3, 7, 100, 101, 777].map(nice), [1, 1, 5, 10, 100, 200, 1000]);
        assert_eq!(nice(u64::MAX), u64::MAX);
    }

    #[test]
    fn text_stays_text() {
        let mut html = Html::default();
        html.text("<a href=\"x\" onclick='y'>&amp;\u{202e}\x1b");
        assert_eq!(html.into_text(), "&lt;a href=&quot;x&quot; onclick=&#39;y&#39;&gt;&amp;amp;\u{FFFD}\u{FFFD}");
    }
}

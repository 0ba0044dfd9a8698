//! Style sheets into style attributes: many mail programs drop `<style>`, or the whole head.

use std::sync::LazyLock;

use css_inline::CSSInliner;

use super::TemplateError;

/// Media queries and other rules that no attribute can hold stay in `<style>`. Nothing is fetched and no file is read:
/// the library is built without either, and links to style sheets are left alone.
static INLINER: LazyLock<CSSInliner<'static>> = LazyLock::new(|| {
    CSSInliner::options()
        .inline_style_tags(true)
        .keep_style_tags(false)
        .keep_link_tags(true)
        .keep_at_rules(true)
        .load_remote_stylesheets(false)
        .build()
});

/// Moves the rules of style sheets into the elements that they are for.
///
/// # Errors
/// If a style sheet is none.
pub(super) fn inline(name: &str, html: String) -> Result<String, TemplateError> {
    if !has_style(&html) {
        return Ok(html);
    }
    INLINER.inline(&html).map_err(|error| TemplateError::new(name, format!("its style sheet cannot be used: {error}")))
}

/// Whether there may be a style sheet. Most texts have none, and parsing HTML takes long.
fn has_style(html: &str) -> bool {
    let bytes = html.as_bytes();
    memchr::memchr_iter(b'<', bytes)
        .any(|at| bytes.get(at + 1..at + 6).is_some_and(|name| name.eq_ignore_ascii_case(b"style")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_become_attributes_and_queries_stay() {
        let html = "<html><head><STYLE>p { color: red } @media (max-width: 9px) { p { color: blue } }</STYLE></head>\
                    <body><p>a &amp; b</p></body></html>";
        let inlined = inline("t", html.to_owned()).unwrap();
        assert!(inlined.contains("<p style=\"color: red;\">a &amp; b</p>"), "{inlined}");
        assert!(inlined.contains("@media (max-width: 9px)") && !inlined.contains("p { color: red }"), "{inlined}");
    }

    #[test]
    fn what_has_no_style_stays_as_it_is() {
        let html = "<p class=x>a<br>b";
        assert_eq!(inline("t", html.to_owned()).unwrap(), html);
    }

    #[test]
    fn nothing_is_fetched() {
        let html = "<html><head><link rel=\"stylesheet\" href=\"/etc/passwd\"><style>p{color:red}</style>\
                    <link rel=\"stylesheet\" href=\"http://127.0.0.1:1/x.css\"></head><body><p>x</p></body></html>";
        let inlined = inline("t", html.to_owned()).unwrap();
        assert!(inlined.contains("href=\"/etc/passwd\"") && inlined.contains("style=\"color: red;\""), "{inlined}");
        assert!(!inlined.contains("root:"), "{inlined}");
    }

    #[test]
    fn hostile_style_sheets_end() {
        for css in
            ["}}}}", "p{", "@media", "@import url(http://127.0.0.1:1/);p{color:red}", "/*", "p{color:", "\\", "<!--"]
        {
            let _ = inline("t", format!("<style>{css}</style><p>x</p>"));
        }
    }
}

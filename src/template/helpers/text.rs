//! Helpers for texts and lists.

use serde_json::Value;

use super::{Call, text_of};

/// The first value that is more than nothing.
pub(super) fn default(call: &Call<'_>) -> Result<Value, String> {
    let filled = (0..call.helper.params().len()).find_map(|at| call.filled(at));
    Ok(filled.cloned().unwrap_or(Value::Null))
}

/// For a part of a URL: everything but letters, digits and `-._~` (RFC 3986, 2.3).
pub(super) fn url_encode(call: &Call<'_>) -> Result<Value, String> {
    let text = call.text(0)?;
    let mut encoded = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    Ok(Value::String(encoded))
}

/// At most so many characters, with an ellipsis where something is cut off, at the end of a word if there is one:
/// `{{truncate text 40}}`.
pub(super) fn truncate(call: &Call<'_>) -> Result<Value, String> {
    let text = call.text(0)?;
    let limit: usize = text_of(call.value(1)?)?.parse().map_err(|_| "a number of characters is wanted".to_owned())?;
    let ellipsis = match call.helper.hash_get("ellipsis") {
        Some(value) => text_of(value.value())?,
        None => "…".into(),
    };
    let keeps_words = call.hash_flag("words", true)?;
    let Some((end, _)) = text.char_indices().nth(limit) else { return Ok(Value::String(text.into_owned())) };
    let room = limit.saturating_sub(ellipsis.chars().count());
    let cut = text.char_indices().nth(room).map_or(end, |(at, _)| at);
    let mut kept = &text[..cut];
    if keeps_words && !text[cut..].starts_with(char::is_whitespace) {
        // A single long word is cut all the same.
        kept = kept.rfind(char::is_whitespace).map_or(kept, |space| &kept[..space]);
    }
    let ellipsis: String = ellipsis.chars().take(limit).collect();
    Ok(Value::String(format!("{}{ellipsis}", kept.trim_end())))
}

pub(super) fn upper(call: &Call<'_>) -> Result<Value, String> {
    Ok(Value::String(call.text(0)?.to_uppercase()))
}

pub(super) fn lower(call: &Call<'_>) -> Result<Value, String> {
    Ok(Value::String(call.text(0)?.to_lowercase()))
}

pub(super) fn trim(call: &Call<'_>) -> Result<Value, String> {
    Ok(Value::String(call.text(0)?.trim().to_owned()))
}

/// The texts of a list in a row: `{{join list "; "}}`.
pub(super) fn join(call: &Call<'_>) -> Result<Value, String> {
    let separator = match call.helper.param(1) {
        Some(_) => call.text(1)?,
        None => ", ".into(),
    };
    let Value::Array(list) = call.value(0)? else { return Err("a list is wanted".to_owned()) };
    let texts: Vec<_> = list.iter().map(text_of).collect::<Result<_, _>>()?;
    Ok(Value::String(texts.join(&separator)))
}

/// Characters of a text, entries of a list or an object.
pub(super) fn len(call: &Call<'_>) -> Result<Value, String> {
    Ok(match call.value(0)? {
        Value::Array(list) => list.len(),
        Value::Object(object) => object.len(),
        value => text_of(value)?.chars().count(),
    }
    .into())
}

#[cfg(test)]
mod tests {
    use crate::template::{Data, Kind, Phrase};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn render(text: &str, data: Value) -> Result<String, String> {
        let phrase = Phrase::compile("t", text, Kind::Text).map_err(|error| error.to_string())?;
        phrase.render(&Data::new(data)).map_err(|error| error.to_string())
    }

    #[test]
    fn texts() {
        let data = json!({"a": " Ünit ", "e": "", "o": {"x": null}, "l": ["a", 1, true], "t": "one two three", "w": "aaaaaaaaaa"});
        for (text, expected) in [
            ("{{default e \"there\"}}", "there"),
            ("{{default o.x o.y e \"z\"}}", "z"),
            ("{{default (trim a) \"z\"}}", "Ünit"),
            ("[{{default e e}}]", "[]"),
            ("{{url-encode a}}", "%20%C3%9Cnit%20"),
            ("{{url-encode \"a&b=c/~\"}}", "a%26b%3Dc%2F~"),
            ("{{upper (trim a)}}{{lower \"ÄB\"}}", "ÜNITäb"),
            ("{{join l}}|{{join l \"/\"}}", "a, 1, true|a/1/true"),
            ("{{len l}}{{len a}}{{len o}}", "361"),
            (
                "{{truncate t 13}}|{{truncate t 9}}|{{truncate t 8}}|{{truncate t 7}}",
                "one two three|one two…|one two…|one…",
            ),
            ("{{truncate w 4}}|{{truncate t 6 words=false}}|{{truncate t 6 ellipsis=\"\"}}", "aaa…|one t…|one"),
            ("{{truncate t 0}}|{{truncate t 1}}|{{truncate t 2 ellipsis=\"...\"}}", "|…|.."),
        ] {
            assert_eq!(render(text, data.clone()).as_deref(), Ok(expected), "{text}");
        }
        for text in ["{{upper l}}", "{{join t}}", "{{truncate t \"x\"}}", "{{truncate t -1}}", "{{upper o.y}}"] {
            let error = render(text, data.clone()).unwrap_err();
            assert!(error.starts_with("t:1:1: "), "{error}");
        }
    }

    proptest! {
        #[test]
        fn nothing_becomes_longer_than_it_may(text in "[a ü\n]{0,30}", limit in 0_usize..35, words: bool) {
            let source = format!("{{{{truncate t {limit} words={words}}}}}");
            let cut = render(&source, json!({"t": text.clone()})).unwrap();
            prop_assert!(cut.chars().count() <= limit.max(text.chars().count().min(limit)));
            prop_assert!(text.chars().count() > limit || cut == text);
        }
    }
}

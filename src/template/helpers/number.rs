//! Numbers as people write them, their plurals, and comparing them: cells of a table are texts.

use std::cmp::Ordering;

use handlebars::JsonRender;
use serde_json::Value;

use super::{Call, is_blank, locale::Locale, text_of};

/// More decimals have no use.
const MAX_DECIMALS: usize = 20;

/// A decimal number as its digits: what is written is shown, without the detour over binary fractions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decimal {
    is_negative: bool,
    /// Without leading zeros; `0` if there is nothing else.
    pub whole: String,
    pub fraction: String,
}

impl Decimal {
    /// Reads digits with a point before the decimals.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let unsigned = text.strip_prefix(['-', '+', '−']).unwrap_or(text);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if !is_digits(whole) || !is_digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
            return None;
        }
        let whole = whole.trim_start_matches('0');
        Some(Self {
            is_negative: text.starts_with(['-', '−']),
            whole: if whole.is_empty() { "0" } else { whole }.to_owned(),
            fraction: fraction.to_owned(),
        })
    }

    fn of(value: &Value) -> Result<Self, String> {
        let text = match value {
            // Shown without an exponent.
            Value::Number(number) => {
                number.as_f64().filter(|_| number.is_f64()).map_or_else(|| number.to_string(), |n| n.to_string())
            }
            Value::String(text) => text.clone(),
            other => return Err(format!("a number is wanted, not {}", kind(other))),
        };
        Self::parse(&text)
            .ok_or_else(|| format!("'{text}' is no number: digits, and a point before the decimals, are wanted"))
    }

    /// With so many decimals; halves go away from zero, as in accounts.
    fn rounded(mut self, decimals: usize) -> Self {
        let is_up = self.fraction.as_bytes().get(decimals).is_some_and(|digit| *digit >= b'5');
        self.fraction.truncate(decimals);
        while self.fraction.len() < decimals {
            self.fraction.push('0');
        }
        if is_up {
            let mut digits: Vec<u8> = [self.whole.as_bytes(), self.fraction.as_bytes()].concat();
            let mut at = digits.len();
            loop {
                if at == 0 {
                    digits.insert(0, b'1');
                    break;
                }
                at -= 1;
                if digits[at] < b'9' {
                    digits[at] += 1;
                    break;
                }
                digits[at] = b'0';
            }
            let text: String = digits.iter().map(|digit| char::from(*digit)).collect();
            let (whole, fraction) = text.split_at(text.len() - decimals);
            (self.whole, self.fraction) = (whole.to_owned(), fraction.to_owned());
        }
        self
    }

    fn is_zero(&self) -> bool {
        self.whole.bytes().chain(self.fraction.bytes()).all(|digit| digit == b'0')
    }

    /// The digits with their marks, without a sign.
    fn digits(&self, locale: Locale, is_grouped: bool) -> String {
        let marks = locale.marks();
        let mut text = String::with_capacity(self.whole.len() * 2 + self.fraction.len());
        let is_grouped = is_grouped && self.whole.len() >= 3 + marks.least;
        for (at, digit) in self.whole.chars().enumerate() {
            if is_grouped && at > 0 && (self.whole.len() - at).is_multiple_of(3) {
                text.push(marks.group);
            }
            text.push(digit);
        }
        if !self.fraction.is_empty() {
            text.push(marks.decimal);
            text.push_str(&self.fraction);
        }
        text
    }

    fn sign(&self) -> &'static str {
        if self.is_negative && !self.is_zero() { "-" } else { "" }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
        Value::Number(_) | Value::String(_) => "a text",
    }
}

fn decimals(call: &Call<'_>) -> Result<Option<usize>, String> {
    let Some(value) = call.hash("decimals") else { return Ok(None) };
    let number = text_of(value)?.parse().ok().filter(|number| *number <= MAX_DECIMALS);
    number.map(Some).ok_or_else(|| format!("decimals= wants a number from 0 to {MAX_DECIMALS}"))
}

/// A number with the marks of the locale.
pub(super) fn number(call: &Call<'_>) -> Result<Value, String> {
    let value = call.value(0)?;
    if is_blank(value) {
        return Ok(Value::String(String::new()));
    }
    let mut number = Decimal::of(value)?;
    if let Some(decimals) = decimals(call)? {
        number = number.rounded(decimals);
    }
    let digits = number.digits(call.locale()?, call.hash_flag("grouping", true)?);
    Ok(Value::String(format!("{}{digits}", number.sign())))
}

/// An amount of money: `{{currency total "EUR"}}`.
pub(super) fn currency(call: &Call<'_>) -> Result<Value, String> {
    let value = call.value(0)?;
    if is_blank(value) {
        return Ok(Value::String(String::new()));
    }
    let code = match call.hash_text("currency")? {
        Some(code) => code.to_owned(),
        None => call.text(1).map_err(|_| "which one? {{currency total \"EUR\"}}".to_owned())?.into_owned(),
    };
    let code = code.trim().to_ascii_uppercase();
    if code.len() != 3 || !code.bytes().all(|b| b.is_ascii_uppercase()) {
        return Err(format!("'{code}' is no currency: three letters are wanted, such as EUR"));
    }
    let usual =
        if ["JPY", "KRW", "VND", "CLP", "ISK", "PYG", "UGX", "XAF", "XOF"].contains(&code.as_str()) { 0 } else { 2 };
    let number = Decimal::of(value)?.rounded(decimals(call)?.unwrap_or(usual));
    let locale = call.locale()?;
    let symbol = match code.as_str() {
        "EUR" => "€",
        "USD" => "$",
        "GBP" => "£",
        "JPY" | "CNY" => "¥",
        "PLN" => "zł",
        "BRL" => "R$",
        "INR" => "₹",
        "KRW" => "₩",
        code => code,
    };
    let (digits, sign) = (number.digits(locale, true), number.sign());
    let is_word = symbol.ends_with(|c: char| c.is_alphabetic());
    let space = if is_word || locale.spaces_sign() { "\u{A0}" } else { "" };
    Ok(Value::String(match locale.marks().is_sign_first {
        true => format!("{sign}{symbol}{space}{digits}"),
        false => format!("{sign}{digits}\u{A0}{symbol}"),
    }))
}

/// The text for so many: `{{plural n one="# item" other="# items"}}`; `#` is the number.
pub(super) fn plural(call: &Call<'_>) -> Result<Value, String> {
    let count = Decimal::of(call.value(0)?)?;
    let locale = call.locale()?;
    let other = call.hash_text("other")?.ok_or("other= is missing, the text for all other numbers")?;
    let zero = if count.is_zero() { call.hash_text("zero")? } else { None };
    let text = match zero {
        Some(zero) => zero,
        None => call.hash_text(locale.plural(&count).name())?.unwrap_or(other),
    };
    Ok(Value::String(text.replace('#', &format!("{}{}", count.sign(), count.digits(locale, true)))))
}

/// Numbers are compared as such, also where one of them, or both, are texts.
fn compare(call: &Call<'_>) -> Result<Option<Ordering>, String> {
    let (a, b) = (call.value(0)?, call.value(1)?);
    let number = |value: &Value| match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => Decimal::parse(text).and_then(|_| text.trim().parse::<f64>().ok()),
        _ => None,
    };
    if let (Some(a), Some(b)) = (number(a), number(b)) {
        return Ok(a.partial_cmp(&b));
    }
    Ok(match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Array(_) | Value::Object(_), _) | (_, Value::Array(_) | Value::Object(_)) => {
            (a == b).then_some(Ordering::Equal)
        }
        _ => Some(a.render().cmp(&b.render())),
    })
}

pub(super) fn eq(call: &Call<'_>) -> Result<Value, String> {
    Ok(Value::Bool(compare(call)? == Some(Ordering::Equal)))
}

pub(super) fn ne(call: &Call<'_>) -> Result<Value, String> {
    Ok(Value::Bool(compare(call)? != Some(Ordering::Equal)))
}

pub(super) fn gt(call: &Call<'_>) -> Result<Value, String> {
    Ok(Value::Bool(compare(call)?.is_some_and(Ordering::is_gt)))
}

pub(super) fn gte(call: &Call<'_>) -> Result<Value, String> {
    Ok(Value::Bool(compare(call)?.is_some_and(Ordering::is_ge)))
}

pub(super) fn lt(call: &Call<'_>) -> Result<Value, String> {
    Ok(Value::Bool(compare(call)?.is_some_and(Ordering::is_lt)))
}

pub(super) fn lte(call: &Call<'_>) -> Result<Value, String> {
    Ok(Value::Bool(compare(call)?.is_some_and(Ordering::is_le)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::{Data, Kind, Phrase};
    use proptest::prelude::*;
    use serde_json::json;

    fn render(text: &str, data: Value) -> Result<String, String> {
        let phrase = Phrase::compile("t", text, Kind::Text).map_err(|error| error.to_string())?;
        phrase.render(&Data::new(data)).map_err(|error| error.to_string())
    }

    #[test]
    fn marks_of_every_language() {
        for (locale, number, money) in [
            ("en", "1,234,567.5", "€1,234.50"),
            ("de", "1.234.567,5", "1.234,50\u{A0}€"),
            ("de-CH", "1’234’567.5", "€\u{A0}1’234.50"),
            ("fr", "1\u{202F}234\u{202F}567,5", "1\u{202F}234,50\u{A0}€"),
            ("es", "1.234.567,5", "1234,50\u{A0}€"),
            ("it", "1.234.567,5", "1.234,50\u{A0}€"),
            ("nl", "1.234.567,5", "€\u{A0}1.234,50"),
            ("pt", "1.234.567,5", "€\u{A0}1.234,50"),
            ("pl", "1\u{A0}234\u{A0}567,5", "1234,50\u{A0}€"),
            ("zh", "1,234,567.5", "€1,234.50"),
            ("ja", "1,234,567.5", "€1,234.50"),
        ] {
            let text =
                render("{{number n}}|{{currency m \"EUR\"}}", json!({"n": "1234567.5", "m": 1234.5, "locale": locale}));
            assert_eq!(text.unwrap(), format!("{number}|{money}"), "{locale}");
        }
    }

    #[test]
    fn numbers_as_they_are_wanted() {
        let data = json!({"a": "-0.005", "b": 0.1, "c": "999.995", "d": 1e21, "e": "", "f": "007", "g": 12345});
        for (text, expected) in [
            ("{{number a decimals=2}}", "-0.01"),
            ("{{number a decimals=1}}", "0.0"),
            ("{{number b}}", "0.1"),
            ("{{number c decimals=2}}", "1,000.00"),
            ("{{number d}}", "1,000,000,000,000,000,000,000"),
            ("[{{number e}}]", "[]"),
            ("{{number f}}", "7"),
            ("{{number g grouping=false}}", "12345"),
            ("{{currency g \"JPY\"}}", "¥12,345"),
            ("{{currency g currency=\"chf\"}}", "CHF\u{A0}12,345.00"),
            ("{{currency a \"USD\"}}", "-$0.01"),
        ] {
            assert_eq!(render(text, data.clone()).as_deref(), Ok(expected), "{text}");
        }
        for text in [
            "{{number \"1,5\"}}",
            "{{number \"x\"}}",
            "{{number true}}",
            "{{number 1 decimals=99}}",
            "{{currency 1}}",
            "{{currency 1 \"Euro\"}}",
        ] {
            let error = render(text, json!({})).unwrap_err();
            assert!(error.starts_with("t:1:1: "), "{error}");
        }
    }

    #[test]
    fn plurals() {
        let text = "{{plural n zero=\"none\" one=\"# file\" few=\"# pliki\" other=\"# files\"}}";
        for (n, locale, expected) in [
            (json!(0), "en", "none"),
            (json!("1"), "en", "1 file"),
            (json!(1500), "en", "1,500 files"),
            (json!(3), "pl", "3 pliki"),
            (json!(5), "pl", "5 files"),
        ] {
            assert_eq!(render(text, json!({"n": n, "locale": locale})).as_deref(), Ok(expected));
        }
        assert!(render("{{plural n one=\"x\"}}", json!({"n": 1})).unwrap_err().contains("other="));
    }

    #[test]
    fn cells_are_compared_as_numbers() {
        let data = json!({"a": "9", "b": "10", "n": 9, "s": "pro", "e": ""});
        for (condition, expected) in [
            ("lt a b", "true"),
            ("eq a n", "true"),
            ("eq a 9.0", "true"),
            ("gte b 10", "true"),
            ("gt a b", "false"),
            ("eq s \"pro\"", "true"),
            ("ne s \"x\"", "true"),
            ("eq e \"\"", "true"),
            ("lte a n", "true"),
        ] {
            let text = format!(
                "{{{{{condition}}}}} {{{{#if ({condition})}}}}y{{{{/if}}}} {{{{#{condition}}}}}b{{{{else}}}}e{{{{/{}}}}}",
                condition.split(' ').next().unwrap()
            );
            let branch = if expected == "true" { "true y b" } else { "false  e" };
            assert_eq!(render(&text, data.clone()).as_deref(), Ok(branch), "{condition}");
        }
    }

    proptest! {
        #[test]
        fn rounding_is_that_of_integers(n in 0_u64..1_000_000_000, decimals in 0_usize..6) {
            let text = format!("{}.{:05}", n / 100_000, n % 100_000);
            let rounded = Decimal::parse(&text).unwrap().rounded(decimals);
            let unit = 10_u64.pow(5 - decimals.min(5) as u32);
            let expected = (n + unit / 2) / unit;
            prop_assert_eq!(format!("{}{}", rounded.whole, rounded.fraction).parse::<u64>().unwrap(), expected);
        }
    }
}

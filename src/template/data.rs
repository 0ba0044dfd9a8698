//! The variables of one message.

use std::borrow::Cow;

use handlebars::Context;
use serde_json::{Map, Value};

/// The variables of one message, ready for rendering.
#[derive(Debug, Clone)]
pub struct Data {
    context: Context,
}

impl Data {
    /// Takes an object of columns and other values. Each name is also offered in snake_case; a name that is there as
    /// it is wins.
    pub fn new(values: Value) -> Self {
        let mut values = match values {
            Value::Object(values) => values,
            _ => Map::new(),
        };
        let aliases: Vec<(String, Value)> = values
            .iter()
            .filter_map(|(name, value)| match snake_case(name) {
                Cow::Owned(alias) if !values.contains_key(&alias) => Some((alias, value.clone())),
                _ => None,
            })
            .collect();
        for (alias, value) in aliases {
            values.entry(alias).or_insert(value);
        }
        Self { context: Value::Object(values).into() }
    }

    /// Takes these values, without further names for them.
    pub(super) fn exact(values: Map<String, Value>) -> Self {
        Self { context: Value::Object(values).into() }
    }

    /// Gives every name that may be missing and is so no value: it shows as nothing, and is false.
    #[must_use]
    pub fn with_optional(mut self, names: &[String]) -> Self {
        for name in names.iter().filter(|name| !name.is_empty()) {
            self.set_missing(name, &Value::Null);
        }
        self
    }

    /// The value of this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.context.data().get(name)
    }

    pub(super) fn set(&mut self, name: &str, value: Value) {
        if let Value::Object(values) = self.context.data_mut() {
            values.insert(name.to_owned(), value);
        }
    }

    fn set_missing(&mut self, name: &str, value: &Value) {
        for name in [Cow::Borrowed(name), snake_case(name)] {
            if self.get(&name).is_none() {
                self.set(&name, value.clone());
            }
        }
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }
}

/// The name in snake_case, borrowed if it is so already: `First Name`, `firstName` and `first-name` are `first_name`.
pub(super) fn snake_case(name: &str) -> Cow<'_, str> {
    if name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
        return Cow::Borrowed(name);
    }
    let mut snake = String::with_capacity(name.len() + 2);
    let (mut was_lower, mut is_gap) = (false, false);
    for c in name.chars() {
        if !c.is_alphanumeric() {
            (was_lower, is_gap) = (false, !snake.is_empty());
            continue;
        }
        if is_gap || (c.is_uppercase() && was_lower) {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
        (was_lower, is_gap) = (!c.is_uppercase(), false);
    }
    if snake.is_empty() || snake == name { Cow::Borrowed(name) } else { Cow::Owned(snake) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_in_snake_case() {
        for (name, snake) in [
            ("First Name", "first_name"),
            ("firstName", "first_name"),
            ("first-name", "first_name"),
            ("E-Mail", "e_mail"),
            ("URL", "url"),
            (" Größe (cm) ", "größe_cm"),
            ("größe", "größe"),
            ("a1B", "a1_b"),
            ("_id", "_id"),
            ("--", "--"),
        ] {
            assert_eq!(snake_case(name), snake);
        }
    }

    #[test]
    fn both_names_are_there_and_the_exact_one_wins() {
        let data = Data::new(json!({"First Name": "Ada", "ID": 1, "id": 2}));
        assert_eq!(data.get("First Name"), data.get("first_name"));
        assert_eq!(data.get("id"), Some(&json!(2)));
        let data = data.with_optional(&["Nick Name".to_owned(), "id".to_owned()]);
        assert_eq!((data.get("nick_name"), data.get("id")), (Some(&Value::Null), Some(&json!(2))));
        assert_eq!(Data::new(json!([1])).get("0"), None);
    }
}

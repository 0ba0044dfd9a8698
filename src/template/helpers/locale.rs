//! What helpers know of languages: names of months and days, marks in numbers, forms of plurals. From CLDR.

use super::number::Decimal;

/// Languages that helpers write in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    De,
    En,
    Es,
    Fr,
    It,
    Ja,
    Nl,
    Pl,
    Pt,
    Zh,
}

/// A language, and the country where that makes a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Locale {
    pub language: Language,
    region: [u8; 2],
}

/// Names of a language.
#[derive(Debug)]
pub(super) struct Words {
    pub months: [&'static str; 12],
    pub short_months: [&'static str; 12],
    /// From Sunday.
    pub days: [&'static str; 7],
    pub short_days: [&'static str; 7],
    pub halves: [&'static str; 2],
}

/// How numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    pub decimal: char,
    pub group: char,
    /// Digits before the first mark.
    pub least: usize,
    /// The sign of a currency stands before the number.
    pub is_sign_first: bool,
}

/// A form of a plural.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    One,
    Few,
    Many,
    Other,
}

impl Form {
    pub fn name(self) -> &'static str {
        match self {
            Form::One => "one",
            Form::Few => "few",
            Form::Many => "many",
            Form::Other => "other",
        }
    }
}

impl Locale {
    /// Reads `de`, `de-CH`, `de_CH.UTF-8`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut subtags = text.trim().split(['-', '_', '.', '@']);
        let language = match subtags.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "de" => Language::De,
            "en" | "c" | "posix" => Language::En,
            "es" => Language::Es,
            "fr" => Language::Fr,
            "it" => Language::It,
            "ja" => Language::Ja,
            "nl" => Language::Nl,
            "pl" => Language::Pl,
            "pt" => Language::Pt,
            "zh" => Language::Zh,
            _ => {
                let known = "de, en, es, fr, it, ja, nl, pl, pt, zh";
                return Err(format!("'{text}' is no locale that is known here ({known}); say locale=\"en\""));
            }
        };
        let mut region = [0; 2];
        if let Some(tag) = subtags.find(|tag| tag.len() == 2) {
            region.copy_from_slice(tag.to_ascii_uppercase().as_bytes());
        }
        Ok(Self { language, region })
    }

    fn is_in(self, regions: &[&[u8; 2]]) -> bool {
        regions.contains(&&self.region)
    }

    /// The named styles: short, medium, long, full.
    pub fn date_format(self, style: &str) -> Option<&'static str> {
        let american = self.region == [0; 2] || self.is_in(&[b"US", b"PR", b"PH"]);
        let formats = match self.language {
            Language::De => ["%d.%m.%y", "%d.%m.%Y", "%-d. %B %Y", "%A, %-d. %B %Y"],
            Language::En if american => ["%-m/%-d/%y", "%b %-d, %Y", "%B %-d, %Y", "%A, %B %-d, %Y"],
            Language::En => ["%d/%m/%Y", "%-d %b %Y", "%-d %B %Y", "%A %-d %B %Y"],
            Language::Es => ["%-d/%-m/%y", "%-d %b %Y", "%-d de %B de %Y", "%A, %-d de %B de %Y"],
            Language::Fr => ["%d/%m/%Y", "%-d %b %Y", "%-d %B %Y", "%A %-d %B %Y"],
            Language::It => ["%d/%m/%y", "%-d %b %Y", "%-d %B %Y", "%A %-d %B %Y"],
            Language::Ja => ["%Y/%m/%d", "%Y/%m/%d", "%Y年%-m月%-d日", "%Y年%-m月%-d日%A"],
            Language::Nl => ["%d-%m-%Y", "%-d %b %Y", "%-d %B %Y", "%A %-d %B %Y"],
            Language::Pl => ["%d.%m.%Y", "%-d %b %Y", "%-d %B %Y", "%A, %-d %B %Y"],
            Language::Pt if self.is_in(&[b"PT"]) => ["%d/%m/%y", "%d/%m/%Y", "%-d de %B de %Y", "%A, %-d de %B de %Y"],
            Language::Pt => ["%d/%m/%Y", "%-d de %b de %Y", "%-d de %B de %Y", "%A, %-d de %B de %Y"],
            Language::Zh => ["%Y/%-m/%-d", "%Y年%-m月%-d日", "%Y年%-m月%-d日", "%Y年%-m月%-d日%A"],
        };
        let at = ["short", "medium", "long", "full"].iter().position(|name| *name == style)?;
        Some(formats[at])
    }

    pub fn words(self) -> &'static Words {
        match self.language {
            Language::De => &DE,
            Language::En => &EN,
            Language::Es => &ES,
            Language::Fr => &FR,
            Language::It => &IT,
            Language::Ja => &JA,
            Language::Nl => &NL,
            Language::Pl => &PL,
            Language::Pt => &PT,
            Language::Zh if self.is_in(&[b"TW", b"HK", b"MO"]) => &ZH_TW,
            Language::Zh => &ZH,
        }
    }

    /// Months that stand without a day, where they have another form then.
    pub fn lone_months(self) -> &'static [&'static str; 12] {
        match self.language {
            Language::Pl => &PL_LONE_MONTHS,
            _ => &self.words().months,
        }
    }

    pub fn marks(self) -> Marks {
        let marks = |decimal, group, least, is_sign_first| Marks { decimal, group, least, is_sign_first };
        match self.language {
            Language::En | Language::Ja | Language::Zh => marks('.', ',', 1, true),
            Language::De if self.is_in(&[b"CH", b"LI"]) => marks('.', '’', 1, true),
            Language::It if self.is_in(&[b"CH"]) => marks('.', '’', 1, true),
            Language::De | Language::It => marks(',', '.', 1, false),
            Language::Es if self.is_in(&[b"MX", b"US", b"GT", b"HN", b"NI", b"PA", b"PE", b"PR", b"SV", b"DO"]) => {
                marks('.', ',', 1, true)
            }
            Language::Es => marks(',', '.', 2, false),
            Language::Fr => marks(',', '\u{202F}', 1, false),
            Language::Nl => marks(',', '.', 1, true),
            Language::Pl => marks(',', '\u{A0}', 2, false),
            Language::Pt if self.is_in(&[b"PT"]) => marks(',', '\u{A0}', 2, false),
            Language::Pt => marks(',', '.', 1, true),
        }
    }

    /// Whether a space stands between the sign of a currency before a number and the number.
    pub fn spaces_sign(self) -> bool {
        matches!(self.language, Language::Nl | Language::Pt | Language::De | Language::It)
    }

    /// The form for so many (Unicode TR 35, part 3, 5.1).
    pub fn plural(self, count: &Decimal) -> Form {
        let is_whole = count.fraction.is_empty();
        // Only the last digits matter.
        let last = |digits: usize| -> u32 {
            let start = count.whole.len().saturating_sub(digits);
            count.whole[start..].parse().unwrap_or(0)
        };
        let is_one = count.whole == "1";
        let is_million = is_whole && count.whole.len() > 6 && last(6) == 0;
        match self.language {
            Language::Ja | Language::Zh => Form::Other,
            Language::De | Language::En | Language::Nl if is_one && is_whole => Form::One,
            Language::De | Language::En | Language::Nl => Form::Other,
            Language::Fr if is_one || count.whole == "0" => Form::One,
            Language::Pt if !self.is_in(&[b"PT"]) && (is_one || count.whole == "0") => Form::One,
            Language::Es | Language::It | Language::Pt if is_one && is_whole => Form::One,
            Language::Es | Language::It | Language::Pt | Language::Fr if is_million => Form::Many,
            Language::Es | Language::It | Language::Pt | Language::Fr => Form::Other,
            Language::Pl if !is_whole => Form::Other,
            Language::Pl if is_one => Form::One,
            Language::Pl if (2..=4).contains(&last(1)) && !(12..=14).contains(&last(2)) => Form::Few,
            Language::Pl => Form::Many,
        }
    }
}

const DE: Words = Words {
    months: [
        "Januar",
        "Februar",
        "März",
        "April",
        "Mai",
        "Juni",
        "Juli",
        "August",
        "September",
        "Oktober",
        "November",
        "Dezember",
    ],
    short_months: ["Jan.", "Feb.", "März", "Apr.", "Mai", "Juni", "Juli", "Aug.", "Sept.", "Okt.", "Nov.", "Dez."],
    days: ["Sonntag", "Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag"],
    short_days: ["So", "Mo", "Di", "Mi", "Do", "Fr", "Sa"],
    halves: ["AM", "PM"],
};

const EN: Words = Words {
    months: [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ],
    short_months: ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"],
    days: ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"],
    short_days: ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"],
    halves: ["AM", "PM"],
};

const ES: Words = Words {
    months: [
        "enero",
        "febrero",
        "marzo",
        "abril",
        "mayo",
        "junio",
        "julio",
        "agosto",
        "septiembre",
        "octubre",
        "noviembre",
        "diciembre",
    ],
    short_months: ["ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sept", "oct", "nov", "dic"],
    days: ["domingo", "lunes", "martes", "miércoles", "jueves", "viernes", "sábado"],
    short_days: ["dom", "lun", "mar", "mié", "jue", "vie", "sáb"],
    halves: ["a. m.", "p. m."],
};

const FR: Words = Words {
    months: [
        "janvier",
        "février",
        "mars",
        "avril",
        "mai",
        "juin",
        "juillet",
        "août",
        "septembre",
        "octobre",
        "novembre",
        "décembre",
    ],
    short_months: ["janv.", "févr.", "mars", "avr.", "mai", "juin", "juil.", "août", "sept.", "oct.", "nov.", "déc."],
    days: ["dimanche", "lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi"],
    short_days: ["dim.", "lun.", "mar.", "mer.", "jeu.", "ven.", "sam."],
    halves: ["AM", "PM"],
};

const IT: Words = Words {
    months: [
        "gennaio",
        "febbraio",
        "marzo",
        "aprile",
        "maggio",
        "giugno",
        "luglio",
        "agosto",
        "settembre",
        "ottobre",
        "novembre",
        "dicembre",
    ],
    short_months: ["gen", "feb", "mar", "apr", "mag", "giu", "lug", "ago", "set", "ott", "nov", "dic"],
    days: ["domenica", "lunedì", "martedì", "mercoledì", "giovedì", "venerdì", "sabato"],
    short_days: ["dom", "lun", "mar", "mer", "gio", "ven", "sab"],
    halves: ["AM", "PM"],
};

const NL: Words = Words {
    months: [
        "januari",
        "februari",
        "maart",
        "april",
        "mei",
        "juni",
        "juli",
        "augustus",
        "september",
        "oktober",
        "november",
        "december",
    ],
    short_months: ["jan", "feb", "mrt", "apr", "mei", "jun", "jul", "aug", "sep", "okt", "nov", "dec"],
    days: ["zondag", "maandag", "dinsdag", "woensdag", "donderdag", "vrijdag", "zaterdag"],
    short_days: ["zo", "ma", "di", "wo", "do", "vr", "za"],
    halves: ["a.m.", "p.m."],
};

const PL: Words = Words {
    months: [
        "stycznia",
        "lutego",
        "marca",
        "kwietnia",
        "maja",
        "czerwca",
        "lipca",
        "sierpnia",
        "września",
        "października",
        "listopada",
        "grudnia",
    ],
    short_months: ["sty", "lut", "mar", "kwi", "maj", "cze", "lip", "sie", "wrz", "paź", "lis", "gru"],
    days: ["niedziela", "poniedziałek", "wtorek", "środa", "czwartek", "piątek", "sobota"],
    short_days: ["niedz.", "pon.", "wt.", "śr.", "czw.", "pt.", "sob."],
    halves: ["AM", "PM"],
};

const PL_LONE_MONTHS: [&str; 12] = [
    "styczeń",
    "luty",
    "marzec",
    "kwiecień",
    "maj",
    "czerwiec",
    "lipiec",
    "sierpień",
    "wrzesień",
    "październik",
    "listopad",
    "grudzień",
];

const PT: Words = Words {
    months: [
        "janeiro",
        "fevereiro",
        "março",
        "abril",
        "maio",
        "junho",
        "julho",
        "agosto",
        "setembro",
        "outubro",
        "novembro",
        "dezembro",
    ],
    short_months: ["jan.", "fev.", "mar.", "abr.", "mai.", "jun.", "jul.", "ago.", "set.", "out.", "nov.", "dez."],
    days: ["domingo", "segunda-feira", "terça-feira", "quarta-feira", "quinta-feira", "sexta-feira", "sábado"],
    short_days: ["dom.", "seg.", "ter.", "qua.", "qui.", "sex.", "sáb."],
    halves: ["AM", "PM"],
};

const JA: Words = Words {
    months: ["1月", "2月", "3月", "4月", "5月", "6月", "7月", "8月", "9月", "10月", "11月", "12月"],
    short_months: ["1月", "2月", "3月", "4月", "5月", "6月", "7月", "8月", "9月", "10月", "11月", "12月"],
    days: ["日曜日", "月曜日", "火曜日", "水曜日", "木曜日", "金曜日", "土曜日"],
    short_days: ["日", "月", "火", "水", "木", "金", "土"],
    halves: ["午前", "午後"],
};

const ZH: Words = Words {
    months: ["一月", "二月", "三月", "四月", "五月", "六月", "七月", "八月", "九月", "十月", "十一月", "十二月"],
    short_months: JA.months,
    days: ["星期日", "星期一", "星期二", "星期三", "星期四", "星期五", "星期六"],
    short_days: ["周日", "周一", "周二", "周三", "周四", "周五", "周六"],
    halves: ["上午", "下午"],
};

const ZH_TW: Words = Words {
    months: JA.months,
    short_months: JA.months,
    days: ZH.days,
    short_days: ["週日", "週一", "週二", "週三", "週四", "週五", "週六"],
    halves: ZH.halves,
};

#[cfg(test)]
mod tests {
    use super::*;

    fn form(locale: &str, count: &str) -> &'static str {
        Locale::parse(locale).unwrap().plural(&Decimal::parse(count).unwrap()).name()
    }

    /// Samples of CLDR.
    #[test]
    fn forms_of_plurals() {
        for (locale, one, other) in [
            ("en", "1", ["0", "2", "1.0", "1000000"]),
            ("de", "1", ["0", "2", "1.5", "1000000"]),
            ("nl", "1", ["0", "2", "0.1", "1000000"]),
        ] {
            assert_eq!(form(locale, one), "one", "{locale}");
            other.iter().for_each(|count| assert_eq!(form(locale, count), "other", "{locale} {count}"));
        }
        for (locale, count, expected) in [
            ("fr", "0", "one"),
            ("fr", "1.5", "one"),
            ("fr", "2", "other"),
            ("fr", "1000000", "many"),
            ("pt", "0", "one"),
            ("pt-PT", "0", "other"),
            ("pt-PT", "1", "one"),
            ("es", "0", "other"),
            ("es", "1", "one"),
            ("es", "3000000", "many"),
            ("it", "1", "one"),
            ("pl", "1", "one"),
            ("pl", "2", "few"),
            ("pl", "12", "many"),
            ("pl", "22", "few"),
            ("pl", "112", "many"),
            ("pl", "5", "many"),
            ("pl", "21", "many"),
            ("pl", "1.5", "other"),
            ("ja", "1", "other"),
            ("zh-TW", "1", "other"),
            ("en", "-1", "one"),
        ] {
            assert_eq!(form(locale, count), expected, "{locale} {count}");
        }
    }

    #[test]
    fn tags_are_read_as_they_come() {
        for tag in ["de-CH", "de_CH.UTF-8", "de-Latn-ch"] {
            assert_eq!(Locale::parse(tag).unwrap().marks().group, '’', "{tag}");
        }
        assert!(Locale::parse("sv").unwrap_err().contains("locale=\"en\""));
        assert!(Locale::parse("").is_err());
    }
}

//! `mailsend template`: which templates there are, whether they are right, and what becomes of them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand, ValueHint};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    CliError, Exit,
    args::{CommonArgs, Context},
    printed, send,
    stdin::Stdin,
    ui,
};
use crate::{
    config::{DataSource, Request, resolve},
    mail::{Mailbox, clean},
    message::{AttachmentSpec, Blocks, Draft, Field, Input, Text, compose},
    secret,
    template::{Data, Names, Rendered, Template, list, load, load_reporting_all},
};

/// Who writes, and to whom, where nobody is named. Nobody can have these addresses (RFC 2606, 2).
const NOBODY: [&str; 2] = ["sender@example.invalid", "recipient@example.invalid"];
/// Columns with the recipient's address.
const RECIPIENT_COLUMNS: [&str; 4] = ["to", "email", "e-mail", "mail"];

/// List, check or render templates
#[derive(Debug, Args)]
pub struct TemplateArgs {
    #[command(subcommand)]
    command: TemplateCommand,
}

#[derive(Debug, Subcommand)]
enum TemplateCommand {
    /// List the templates of the configuration: name, place, source of the data
    List(ListArgs),
    /// Compile templates, and list the names that they use
    Check(CheckArgs),
    /// Render a template, and show it or write it into files; nothing is sent
    Render(RenderArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// Names, or folders with a '/' in their path; all templates of the configuration if none is named
    #[arg(value_name = "TEMPLATE", value_hint = ValueHint::DirPath)]
    names: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct RenderArgs {
    /// Name, or folder with a '/' in its path
    #[arg(value_name = "TEMPLATE", value_hint = ValueHint::DirPath)]
    name: String,
    /// Take the values from this JSON file, or from standard input (-): an object, or a list of objects
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    data: Option<String>,
    /// Give a value; it holds above those of --data
    #[arg(long, value_name = "NAME=VALUE", allow_hyphen_values = true)]
    set: Vec<String>,
    /// Take this object of the list, counted from 1
    #[arg(long, value_name = "N", default_value_t = 1, hide_default_value = true)]
    row: usize,
    /// Render for readers of this language and country, such as de or zh-TW
    #[arg(long, value_name = "LOCALE")]
    locale: Option<String>,
    /// Write TEMPLATE.eml, .html and .txt into this folder; '-' prints subject and text, as without any output
    #[arg(short, long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    output: Option<PathBuf>,
    /// Write the whole message to FILE, or to standard output (-)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    eml: Option<PathBuf>,
    /// Open the HTML, or the text if there is none, in a browser
    #[arg(long)]
    open: bool,
    #[command(flatten)]
    common: CommonArgs,
}

/// Runs the subcommand.
pub fn template(args: TemplateArgs) -> Result<Exit, CliError> {
    match args.command {
        TemplateCommand::List(args) => list_all(&args),
        TemplateCommand::Check(args) => check(&args),
        TemplateCommand::Render(args) => render(&args),
    }
}

#[derive(Serialize)]
struct Row {
    name: String,
    path: String,
    source: Option<String>,
    error: Option<String>,
}

fn list_all(args: &ListArgs) -> Result<Exit, CliError> {
    let context = args.common.context()?;
    let rows: Vec<Row> = list(&context.files)
        .into_iter()
        .map(|listed| {
            let (source, error) = match listed.source {
                Ok(source) => (source.as_ref().map(shown), None),
                Err(error) => (None, Some(error)),
            };
            Row { name: listed.name, path: listed.path, source, error }
        })
        .collect();
    if args.json {
        return printed(ui::print(&json(&rows)));
    }
    if rows.is_empty() {
        let place = context.files.template_folders().next();
        let place = place.map_or_else(|| "templates/NAME".to_owned(), |place| place.join("NAME").display().to_string());
        ui::tell(&clean(&format!("There is no template. Make one: a folder {place} with subject.txt and body.html")));
    }
    let width = |cell: fn(&Row) -> &str| rows.iter().map(|row| cell(row).chars().count()).max().unwrap_or(0).min(60);
    let (name, path) = (width(|row| &row.name), width(|row| &row.path));
    let text: String = rows
        .iter()
        .map(|row| {
            let last = row.error.as_deref().or(row.source.as_deref()).unwrap_or("-");
            format!("{:<name$}  {:<path$}  {}\n", clean(&row.name), clean(&row.path), clean(last))
        })
        .collect();
    printed(ui::print(&text))
}

fn shown(source: &DataSource) -> String {
    match source {
        DataSource::File(path) => path.display().to_string(),
        DataSource::Web(url) => url.clone(),
        DataSource::Command(command) => format!("$ {command}"),
    }
}

#[derive(Serialize)]
struct Checked {
    name: String,
    variables: Vec<Variable>,
    languages: Vec<String>,
    errors: Vec<String>,
}

#[derive(Serialize)]
struct Variable {
    name: String,
    place: String,
    optional: bool,
}

fn check(args: &CheckArgs) -> Result<Exit, CliError> {
    let context = args.common.context()?;
    let names = match args.names.is_empty() {
        true => list(&context.files).into_iter().map(|listed| listed.name).collect(),
        false => args.names.clone(),
    };
    let mut exit = Exit::Success;
    let mut checked = Vec::new();
    for name in names {
        let mut entry = Checked { name, variables: Vec::new(), languages: Vec::new(), errors: Vec::new() };
        match load_reporting_all(&entry.name, &context.files) {
            Ok(template) => {
                entry.languages = template.languages().into_iter().map(str::to_owned).collect();
                entry.variables = variables(&template);
            }
            Err(errors) => {
                // What cannot be read comes first: the rest may follow from it.
                let is_unreadable = errors.iter().all(|error| error.is_unreadable);
                exit = if is_unreadable && exit == Exit::Success { Exit::NoInput } else { Exit::Data };
                for error in errors {
                    entry.errors.push(error.to_string());
                    ui::show(&error.into());
                }
            }
        }
        checked.push(entry);
    }
    let text = if args.json { json(&checked) } else { checked.iter().map(lines).collect() };
    printed(ui::print(&text)).map(|_| exit)
}

fn variables(template: &Template) -> Vec<Variable> {
    let optional = template.optional();
    template
        .variables()
        .into_iter()
        .map(|(name, place)| Variable {
            name: name.to_owned(),
            place: place.to_owned(),
            optional: optional.iter().any(|optional| optional == name),
        })
        .collect()
}

fn lines(checked: &Checked) -> String {
    let verdict = match checked.errors.len() {
        0 => "ok".to_owned(),
        1 => "1 error".to_owned(),
        count => format!("{count} errors"),
    };
    let languages = match checked.languages.is_empty() {
        true => String::new(),
        false => format!(", also in {}", checked.languages.join(", ")),
    };
    let mut text = format!("{}: {verdict}{languages}\n", clean(&checked.name));
    let width = checked.variables.iter().map(|variable| variable.name.chars().count()).max().unwrap_or(0).min(40);
    for variable in &checked.variables {
        let optional = if variable.optional { "  optional" } else { "" };
        text.push_str(&format!("  {:<width$}  {}{optional}\n", clean(&variable.name), clean(&variable.place)));
    }
    text
}

fn render(args: &RenderArgs) -> Result<Exit, CliError> {
    let context = args.common.context()?;
    let template = load(&args.name, &context.files)?;
    let values = values(args)?;
    let names = Names { given: values.keys().cloned().collect(), optional: Vec::new() };
    let mut errors = template.check_all(&names);
    if !errors.is_empty() {
        // All of them at once: each is a value to be given.
        let last = errors.remove(errors.len() - 1);
        errors.into_iter().for_each(|error| ui::show(&error.into()));
        return Err(last.into());
    }
    let recipient = recipient(&values);
    let rendered = template.render(&Data::new(Value::Object(values)), args.locale.as_deref())?;
    if args.eml.is_none() && !args.open && args.output.as_deref().is_none_or(|output| output == Path::new("-")) {
        return printed(ui::print(&summary(&rendered)));
    }
    // Made in any case: attachments must be there, and everything must fit into a message.
    let message = message(&rendered, &context, recipient)?;
    if let Some(path) = &args.eml {
        if path == Path::new("-") {
            printed(ui::print_bytes(&message))?;
        } else {
            write(path, &message)?;
        }
    }
    let folder = match &args.output {
        Some(folder) if folder != Path::new("-") => folder.clone(),
        _ if args.open => tempfile::Builder::new()
            .prefix("mailsend-")
            .tempdir()
            .map_err(|error| CliError::new(Exit::CannotCreate, "there is no temporary folder").source(error))?
            .keep(),
        _ => return Ok(Exit::Success),
    };
    let files = write_all(&folder, template.name(), &rendered, &message)?;
    if !context.is_quiet {
        files.iter().for_each(|file| ui::tell(&clean(&format!("wrote {}", file.display()))));
    }
    match files.get(1) {
        Some(page) if args.open => open(page, &context),
        _ => Ok(Exit::Success),
    }
}

/// The values of --data and --set.
fn values(args: &RenderArgs) -> Result<Map<String, Value>, CliError> {
    let mut values = match &args.data {
        Some(file) => read_row(file, args.row)?,
        None => Map::new(),
    };
    for given in &args.set {
        let Some((name, value)) = given.split_once('=').filter(|(name, _)| !name.trim().is_empty()) else {
            return Err(CliError::usage(format!("--set: '{}' has no '='", clean(given))).hint("--set NAME=VALUE"));
        };
        values.insert(name.trim().to_owned(), value.into());
    }
    Ok(values)
}

fn read_row(file: &str, row: usize) -> Result<Map<String, Value>, CliError> {
    let input = Input::from_word(file);
    if input == Input::Stdin {
        Stdin::default().claim("--data")?;
    }
    let name = input.path().display().to_string();
    let wrong = |what: String| CliError::new(Exit::Data, format!("{name}: {what}"));
    let values = serde_json::from_slice(&input.read()?).map_err(|error| wrong(format!("it is no JSON: {error}")))?;
    let row = match values {
        Value::Array(mut rows) => {
            let count = rows.len();
            if row == 0 || row > count {
                return Err(wrong(format!("there is no row {row}: it has {count}, counted from 1")));
            }
            rows.swap_remove(row - 1)
        }
        other if row == 1 => other,
        _ => return Err(wrong(format!("there is no row {row}: it is no list"))),
    };
    match row {
        Value::Object(values) => Ok(values),
        _ => Err(wrong("an object with the values is wanted, or a list of objects".to_owned())),
    }
}

/// The recipient that the values name, as text.
fn recipient(values: &Map<String, Value>) -> Option<String> {
    let column = values.iter().find(|(name, _)| RECIPIENT_COLUMNS.contains(&name.to_ascii_lowercase().as_str()))?;
    column.1.as_str().map(str::to_owned).filter(|address| !address.trim().is_empty())
}

/// Subject and text, for a look at a terminal.
fn summary(rendered: &Rendered) -> String {
    let mut text = String::new();
    if let Some(subject) = &rendered.subject {
        text.push_str(&format!("Subject: {subject}\n\n"));
    }
    text.push_str(rendered.text.as_deref().or(rendered.html.as_deref()).unwrap_or_default());
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// The message as it would be sent, apart from who writes it to whom.
fn message(rendered: &Rendered, context: &Context, recipient: Option<String>) -> Result<Vec<u8>, CliError> {
    // Without a profile, or with several of which none is the default, nobody's address is as good.
    let profile = resolve(&Request::default(), &context.files, &context.environment).unwrap_or_default();
    let [sender, nobody] = NOBODY;
    let from = match &profile.from {
        Some(from) => from.clone(),
        None => Mailbox::parse(sender).map_err(|error| CliError::address("sender", &error))?,
    };
    let mut draft = Draft::new(from);
    let to = recipient.unwrap_or_else(|| nobody.to_owned());
    draft.add_field(Field { name: "To".to_owned(), value: to })?;
    draft.subject = rendered.subject.clone();
    draft.text = rendered.text.as_deref().map(Text::from);
    draft.html = rendered.html.as_deref().map(Text::from);
    for (content_id, path) in &rendered.images {
        let input = Input::Path(path.clone());
        let spec = AttachmentSpec { input, name: None, media_type: None, cid: Some(content_id.clone()), charset: None };
        draft.inline.push(spec.open("image")?);
    }
    for spec in &rendered.attachments {
        draft.attachments.push(spec.open("attachments")?);
    }
    let message = compose(&draft, &mut send::stamp(context, &profile, true)?)?;
    let blocks = Blocks::new(&message.content).collect::<Result<Vec<_>, _>>();
    Ok(blocks.map_err(|error| CliError::new(Exit::NoInput, "an attachment cannot be read").source(error))?.concat())
}

/// Writes the message, the page that a browser can show, and the text. The page, if there is one, is the second.
fn write_all(folder: &Path, name: &str, rendered: &Rendered, message: &[u8]) -> Result<Vec<PathBuf>, CliError> {
    fs::create_dir_all(folder).map_err(|error| cannot_create(folder, error))?;
    let name: String = name.chars().map(|c| if c.is_control() || "/\\:".contains(c) { '-' } else { c }).collect();
    let mut files = vec![folder.join(format!("{name}.eml"))];
    write(&files[0], message)?;
    if let Some(html) = &rendered.html {
        files.push(folder.join(format!("{name}.html")));
        write(&files[1], page(html, &rendered.images).as_bytes())?;
    }
    if let Some(text) = &rendered.text {
        files.push(folder.join(format!("{name}.txt")));
        write(&files[files.len() - 1], text.as_bytes())?;
    }
    Ok(files)
}

/// The HTML with its images as files: a browser knows no parts of messages.
fn page(html: &str, images: &[(String, PathBuf)]) -> String {
    images.iter().fold(html.to_owned(), |html, (content_id, path)| {
        html.replace(&format!("\"cid:{content_id}\""), &format!("\"{}\"", file_url(path)))
    })
}

fn file_url(path: &Path) -> String {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut url = "file://".to_owned();
    for byte in path.to_string_lossy().bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-~:".contains(&byte) {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    url
}

fn open(page: &Path, context: &Context) -> Result<Exit, CliError> {
    let url = file_url(page);
    if secret::oauth::open_in_browser(&context.environment, &url) {
        return Ok(Exit::Success);
    }
    Err(CliError::new(Exit::System, "no browser could be started")
        .hint(format!("open it yourself: {url}"))
        .hint("or name a browser: BROWSER=PROGRAM"))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    fs::write(path, bytes).map_err(|error| cannot_create(path, error))
}

fn cannot_create(path: &Path, error: std::io::Error) -> CliError {
    CliError::new(Exit::CannotCreate, format!("{} cannot be written", path.display())).source(error)
}

fn json(value: &impl Serialize) -> String {
    // Strings, numbers and booleans always have a JSON form.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

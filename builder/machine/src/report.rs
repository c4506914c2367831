//! A build and its boot tests as one page for people, as JUnit for CI and as JSON for programs.
//!
//! The page is one file: its pictures are in it, and it loads nothing. Equal data gives equal
//! bytes. JUnit as <https://github.com/testmoapp/junitxml> describes it: a suite is a boot, a case
//! is a check.

mod page;

use std::{fs, path::Path};

use minijinja::{
    Environment, context,
    syntax::SyntaxConfig,
    value::{Serde, Value},
};
use serde::{Deserialize, Serialize};

use crate::{BootReport, Error, error::file};

/// A build, as its maker tells it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Build {
    /// The recipe's name.
    pub recipe: String,
    /// What the recipe makes, in a line.
    pub summary: String,
    /// The result's version.
    pub version: String,
    /// The distribution it was built from.
    pub base: String,
    /// The builder and its version.
    pub builder: String,
    /// The date of its sources, such as `2026-11-22`.
    pub created: String,
    /// How many packages are installed.
    pub packages: usize,
    /// What was made.
    pub artefacts: Vec<Made>,
    /// What it took, in the order of the work.
    pub stages: Vec<BuildStage>,
}

/// An image that was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Made {
    /// Its file's name, relative to the report.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
}

/// A stage of a build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuildStage {
    /// Its name, such as `fetch`.
    pub name: String,
    /// What it did, in a few words.
    pub detail: String,
    /// Wall-clock seconds.
    pub wall: f64,
    /// CPU seconds of the builder and its programs, where they are known.
    pub cpu: Option<f64>,
}

/// A boot test, and where what it kept lies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Boot {
    /// The artefact's file name.
    pub artefact: String,
    /// The folder with its logs, relative to the report.
    pub folder: String,
    /// What came of it.
    pub report: BootReport,
}

/// The names of the three files.
pub const HTML: &str = "report.html";
/// See [`HTML`].
pub const JUNIT: &str = "junit.xml";
/// See [`HTML`].
pub const JSON: &str = "report.json";

/// Writes [`HTML`], [`JUNIT`] and [`JSON`] into `folder`, in which the folders of `boots` lie.
///
/// # Errors
/// Where a file cannot be written. A screenshot that is missing is left out.
pub fn write(folder: &Path, build: &Build, boots: &[Boot]) -> Result<(), Error> {
    let picture = |boot: &Boot| {
        let name = boot.report.files.screenshot.as_ref()?;
        fs::read(folder.join(&boot.folder).join(name)).ok()
    };
    let pictures: Vec<_> = boots.iter().map(picture).collect();
    put(folder, HTML, &html(build, boots, &pictures)?)?;
    put(folder, JUNIT, &junit(build, boots)?)?;
    put(folder, JSON, &json(build, boots)?)
}

fn put(folder: &Path, name: &str, content: &str) -> Result<(), Error> {
    let path = folder.join(name);
    fs::write(&path, content).map_err(file("writing", path))
}

/// The page. `pictures` are PNGs, one a boot where there is one.
///
/// # Errors
/// [`Error::Report`], which would be a mistake in the template.
pub fn html(build: &Build, boots: &[Boot], pictures: &[Option<Vec<u8>>]) -> Result<String, Error> {
    let page = page::Page::new(build, boots, pictures);
    render("page.html", include_str!("report/page.html"), "HTML page", &page)
}

/// The JUnit file.
///
/// # Errors
/// As [`html`].
pub fn junit(build: &Build, boots: &[Boot]) -> Result<String, Error> {
    let page = page::Page::new(build, boots, &[]);
    render("junit.xml", include_str!("report/junit.xml"), "JUnit file", &page)
}

/// Build and boots as they are, in JSON.
///
/// # Errors
/// [`Error::Json`].
pub fn json(build: &Build, boots: &[Boot]) -> Result<String, Error> {
    #[derive(Serialize)]
    struct Report<'a> {
        build: &'a Build,
        boots: &'a [Boot],
    }
    let text = serde_json::to_string_pretty(&Report { build, boots });
    text.map(|text| text + "\n").map_err(|source| Error::Json { what: "the report", source })
}

/// The name's ending decides how values are escaped.
fn render(
    name: &'static str,
    template: &'static str,
    page: &'static str,
    value: &page::Page,
) -> Result<String, Error> {
    let render = || {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?;
        environment.set_syntax(syntax);
        environment.add_template(name, template)?;
        environment.get_template(name)?.render(context! { page => Value::from(Serde(value)) })
    };
    render().map_err(|source| Error::Report { page, source: Box::new(source) })
}

#[cfg(test)]
mod tests;

//! A recipe from its file: finds the parts and checks that every file it names is there.
//!
//! - A part `NAME` is `parts/NAME.toml` in the recipe's folder.
//! - A relative path starts at the project folder: the one that holds `recipes/`. A recipe that does not lie in
//!   a folder of that name is its own project: paths start at its folder.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use coremax_toml_text::Place;

use crate::{
    error::Error,
    error::Mistakes,
    merge::merge,
    nowhere,
    part::{Part, parse_what_is_right},
    recipe::Recipe,
    values::{Base, PartName, SourcePath},
    written::Located,
};

/// Longest recipe file in bytes. Ours: a thousand times a long recipe.
const MAX_TEXT: u64 = 4 << 20;

/// Reads the recipe at `path` with its parts, on the base it says.
///
/// # Errors
/// As [`load_on`].
pub fn load(path: &Path) -> Result<Recipe, Mistakes> {
    load_on(path, None)
}

/// Reads the recipe at `path` with its parts, on `base` if there is one, else on the base it says.
///
/// # Errors
/// Whatever is wrong with the recipe and its parts, each with its place: see [`Error`]. How they go together is
/// looked at when nothing is wrong with them by themselves, and there the first mistake is told. A recipe that is
/// returned names only parts, folders and files that exist.
pub fn load_on(path: &Path, base: Option<Base>) -> Result<Recipe, Mistakes> {
    let (recipe, mut found) = read(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let (parts, in_parts) = gather(&recipe, &mut |name, at| part(&folder.join("parts"), name, at));
    let project = project(folder)?;
    found.extend(in_parts);
    found.extend([&recipe].into_iter().chain(&parts).flat_map(|part| check_files(part, &project)));
    Mistakes::none_of(found)?;
    Ok(merge(&recipe, &parts, &project, base)?)
}

/// What is right in a file, and what is not.
type Read = (Part, Vec<Error>);

fn read(path: &Path) -> Result<Read, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.len() > MAX_TEXT {
        return Err(Error::TooLong { path: path.to_owned(), limit: MAX_TEXT });
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    Ok(parse_what_is_right(&path.to_string_lossy(), &text))
}

fn part(folder: &Path, name: &PartName, at: Place) -> Result<Read, Error> {
    let path = folder.join(format!("{name}.toml"));
    match read(&path) {
        Err(Error::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let files = names_in(folder).into_iter();
            let known = files.filter_map(|file| Some(file.strip_suffix(".toml")?.to_owned()));
            Err(Error::NoPart { name: name.clone(), path, known: known.collect(), at })
        }
        other => other,
    }
}

/// All parts that `recipe` names, and those that they name, each once and after those it names itself; and what is
/// wrong with them.
fn gather(
    recipe: &Part,
    read: &mut dyn FnMut(&PartName, Place) -> Result<Read, Error>,
) -> (Vec<Part>, Vec<Error>) {
    let mut gathered = Gathered {
        read,
        trail: Vec::new(),
        seen: Vec::new(),
        parts: Vec::new(),
        found: Vec::new(),
    };
    gathered.add_parts_of(recipe);
    (gathered.parts, gathered.found)
}

struct Gathered<'a> {
    read: &'a mut dyn FnMut(&PartName, Place) -> Result<Read, Error>,
    /// The parts being read, each named by the one before it.
    trail: Vec<PartName>,
    /// The parts that were read or looked for.
    seen: Vec<PartName>,
    parts: Vec<Part>,
    found: Vec<Error>,
}

impl Gathered<'_> {
    fn add_parts_of(&mut self, part: &Part) {
        for wanted in part.parts() {
            if !self.seen.contains(wanted.value()) {
                self.add(wanted.value(), part.place(wanted));
            }
        }
    }

    fn add(&mut self, name: &PartName, at: Place) {
        if let Some(start) = self.trail.iter().position(|open| open == name) {
            let chain = self.trail[start..].iter().chain([name]).map(PartName::to_string);
            self.found.push(Error::Circular { chain: chain.collect(), at });
            return;
        }
        match (self.read)(name, at) {
            Ok((part, found)) => {
                self.found.extend(found);
                self.trail.push(name.clone());
                self.add_parts_of(&part);
                self.trail.pop();
                self.parts.push(part);
            }
            Err(error) => self.found.push(error),
        }
        self.seen.push(name.clone());
    }
}

/// The folder that relative paths of a recipe in `folder` start at, as an absolute path.
fn project(folder: &Path) -> Result<PathBuf, Error> {
    let folder = if folder == Path::new("") { Path::new(".") } else { folder };
    let failed = |source| Error::Read { path: folder.to_owned(), source };
    let folder = folder.canonicalize().map_err(failed)?;
    match folder.parent() {
        Some(parent) if folder.file_name() == Some(OsStr::new("recipes")) => Ok(parent.to_owned()),
        _ => Ok(folder),
    }
}

/// What a file names and is not there, or would be laid where it may not be.
fn check_files(part: &Part, project: &Path) -> Vec<Error> {
    let written = &part.written;
    let overlays = written.overlays.iter().map(|table| (&table.from, "folder"));
    let files = written.files.iter().filter_map(|table| Some((table.from.as_ref()?, "file")));
    let keys = written.archives.iter().filter_map(|table| Some((table.key.as_ref()?, "file")));
    let update_key = written.root.update_key.iter().map(|key| (key, "file"));
    let named = overlays.chain(files).chain(keys).chain(update_key);
    let missing = named.filter_map(|(from, kind)| check_file(part, from, kind, project).err());
    let misplaced = written.overlays.iter().filter_map(|table| {
        let message = nowhere::objection_to_folder(&project.join(table.from.value().as_str()))?;
        Some(Error::Value { message, at: part.place(&table.from) })
    });
    missing.chain(misplaced).collect()
}

fn check_file(
    part: &Part,
    from: &Located<SourcePath>,
    kind: &'static str,
    project: &Path,
) -> Result<(), Error> {
    let path = project.join(from.value().as_str());
    let found = fs::metadata(&path).ok().map(|found| match found.file_type() {
        found if found.is_dir() => "folder",
        found if found.is_file() => "file",
        _ => "device, pipe or socket",
    });
    if found == Some(kind) {
        return Ok(());
    }
    let known = names_in(path.parent().unwrap_or(project));
    Err(Error::NoFile { kind, path, found, known, at: part.place(from) })
}

/// The names in a folder, sorted; none if it cannot be read.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "name = \"a\"\nbase = \"debian-12\"\n";

    /// A project folder with these files.
    fn project_of(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn wrong(files: &[(&str, &str)]) -> String {
        let project = project_of(files);
        let error = load(&project.path().join("recipes/a.toml")).unwrap_err().into_first();
        let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
        let place = error.place().map(|place| format!("{place}: ")).unwrap_or_default();
        let root = format!("{}/", project.path().canonicalize().unwrap().display());
        format!("{place}{error}{hint}").replace(&root, "")
    }

    #[test]
    fn the_recipes_of_this_project_load() {
        let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
        for entry in fs::read_dir(recipes).unwrap() {
            let path = entry.unwrap().path();
            if path.extension() == Some(OsStr::new("toml")) {
                for &base in Base::all() {
                    load_on(&path, Some(base)).unwrap();
                }
            }
        }
    }

    #[test]
    fn a_part_comes_after_those_it_names_and_once() {
        let part = |parts: &str, arg: &str| {
            format!("parts = {parts}\n[kernel]\ncommand-line = [\"{arg}\"]")
        };
        let project = project_of(&[
            (
                "recipes/a.toml",
                &format!(
                    "parts = [\"x\", \"y\", \"base\"]\n{HEAD}[kernel]\ncommand-line = [\"a\"]"
                ),
            ),
            ("recipes/parts/x.toml", &part("[\"base\"]", "x")),
            ("recipes/parts/y.toml", &part("[\"x\", \"base\"]", "y")),
            ("recipes/parts/base.toml", &part("[]", "base")),
        ]);
        let recipe = load(&project.path().join("recipes/a.toml")).unwrap();
        let order: Vec<_> = recipe.kernel.command_line.iter().map(AsRef::as_ref).collect();
        assert_eq!(order, ["base", "x", "y", "a"]);
    }

    #[test]
    fn paths_start_at_the_folder_that_holds_recipes() {
        let text = format!("{HEAD}[[overlay]]\nfrom = \"overlays/a\"");
        let files =
            [("recipes/a.toml", text.as_str()), ("overlays/a/etc/motd", ""), ("b/a.toml", &text)];
        let project = project_of(&files);
        let root = project.path().canonicalize().unwrap();
        let recipe = load(&project.path().join("recipes/a.toml")).unwrap();
        assert_eq!(recipe.overlays[0].source, root.join("overlays/a"));
        let elsewhere = load(&project.path().join("b/a.toml")).unwrap_err().into_first();
        assert!(
            matches!(elsewhere, Error::NoFile { path, .. } if path == root.join("b/overlays/a"))
        );
    }

    #[test]
    fn parts_that_are_missing_or_circular_are_named() {
        let recipe = format!("parts = [\"bsae\"]\n{HEAD}");
        let got = wrong(&[("recipes/a.toml", &recipe), ("recipes/parts/base.toml", "")]);
        let wanted = "recipes/a.toml:1:10: no part `bsae`: recipes/parts/bsae.toml does not exist (did you mean `base`?)";
        assert_eq!(got, wanted);

        let recipe = format!("parts = [\"x\"]\n{HEAD}");
        let x = ("recipes/parts/x.toml", "parts = [\"y\"]");
        let y = ("recipes/parts/y.toml", "parts = [\"x\"]");
        let got = wrong(&[("recipes/a.toml", &recipe), x, y]);
        assert_eq!(got, "recipes/parts/y.toml:1:10: parts in a circle: x -> y -> x");
    }

    #[test]
    fn mistakes_of_all_files_are_told() {
        let recipe =
            format!("parts = [\"x\", \"nowhere\"]\nsumary = 1\n{HEAD}[[overlay]]\nfrom = \"o\"");
        let project = project_of(&[
            ("recipes/a.toml", &recipe),
            ("recipes/parts/x.toml", "parts = [\"y\"]\nx = 1"),
        ]);
        let mistakes = load(&project.path().join("recipes/a.toml")).unwrap_err();
        let told: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        let wanted = [
            "unknown key `sumary`",
            "unknown key `x`",
            "no part `y`",
            "no part `nowhere`",
            "no folder",
        ];
        assert_eq!(told.len(), wanted.len(), "{told:?}");
        assert!(told.iter().zip(wanted).all(|(told, wanted)| told.starts_with(wanted)), "{told:?}");
    }

    #[test]
    fn files_that_are_missing_or_of_another_kind_are_named() {
        let there = ("files/motd", "");
        let cases = [
            (
                "[[overlay]]\nfrom = \"fils\"",
                "recipes/a.toml:4:8: no folder fils (did you mean `files`?)",
            ),
            (
                "[[overlay]]\nfrom = \"files/motd\"",
                "recipes/a.toml:4:8: no folder files/motd (it is a file)",
            ),
            (
                "[[file]]\npath = \"/a\"\nfrom = \"files/mtd\"",
                "recipes/a.toml:5:8: no file files/mtd (did you mean `motd`?)",
            ),
            (
                "[[file]]\npath = \"/a\"\nfrom = \"files\"",
                "recipes/a.toml:5:8: no file files (it is a folder)",
            ),
        ];
        for (text, wanted) in cases {
            assert_eq!(wrong(&[("recipes/a.toml", &format!("{HEAD}{text}")), there]), wanted);
        }
    }

    #[test]
    fn what_would_be_gone_or_everybodys_is_refused() {
        let overlay = "[[overlay]]\nfrom = \"o\"";
        let file = |path: &str| format!("[[file]]\npath = \"{path}\"\ncontent = \"\"");
        for (text, laid, wanted) in [
            (file("/run/x"), "o/a", "recipes/a.toml:4:8: what is in /run of an image is gone"),
            (file("/etc/machine-id"), "o/a", "recipes/a.toml:4:8: /etc/machine-id is every"),
            (overlay.into(), "o/tmp/x", "recipes/a.toml:4:8: what is in /tmp of an image is gone"),
            (overlay.into(), "o/etc/machine-id", "recipes/a.toml:4:8: /etc/machine-id is every"),
        ] {
            let got = wrong(&[("recipes/a.toml", &format!("{HEAD}{text}")), (laid, "")]);
            assert!(got.starts_with(wanted), "{got}");
        }
        let text = format!("{HEAD}{overlay}\n{}", file("/runs/x"));
        let project = project_of(&[("recipes/a.toml", text.as_str()), ("o/var/tmp/x", "")]);
        fs::create_dir(project.path().join("o/tmp")).unwrap();
        load(&project.path().join("recipes/a.toml")).unwrap();
    }

    #[test]
    fn a_file_that_is_no_recipe_is_refused() {
        assert!(wrong(&[]).starts_with("reading recipe"));
        let large = "#".repeat(usize::try_from(MAX_TEXT).unwrap() + 1);
        assert!(wrong(&[("recipes/a.toml", &large)]).contains("larger than"));
        let project = project_of(&[]);
        fs::create_dir(project.path().join("recipes")).unwrap();
        fs::write(project.path().join("recipes/a.toml"), b"\xff\xfe").unwrap();
        let error = load(&project.path().join("recipes/a.toml")).unwrap_err().into_first();
        assert!(matches!(error, Error::Read { .. }));
    }
}

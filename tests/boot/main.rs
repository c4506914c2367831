//! From a recipe to a booted image, as a user would: the command builds `recipes/node.toml`, boots it
//! by BIOS and by UEFI, and what it leaves is what the README promises.
//!
//! One program without the harness, since each sentence stands on what the one before has made.

mod bare;
mod kills;
mod readme;
mod user;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use coremax_sandbox::{Child, Cmd, Sandbox};
use coremax_tests::{
    Outcome, Ran, Sentence, cache, coremax, expect, project, repository, run, run_in, tell,
};
use serde_json::Value;

const STORY: [Sentence<Stage>; 12] = [
    (
        "a build that is killed at any moment leaves no process and no mount, and the next goes on",
        kills::in_every_step,
    ),
    ("so does one that is killed while it boots its image", kills::in_a_boot),
    (
        "a build ends in an image that boots by BIOS, UEFI and UEFI with Secure Boot",
        builds_and_boots,
    ),
    ("the result's checksums and manifest are true", result_is_true),
    ("qemu-img finds nothing wrong with the image", image_is_clean),
    ("the report shows every boot", report_shows_boots),
    ("a second build with nothing changed makes nothing", nothing_twice),
    ("two builds at once, from nothing, make the same bytes as the first", two_at_once),
    ("a host that has nothing but a kernel makes the same bytes", bare::makes_the_same),
    ("an ordinary user's build makes the same bytes as root's", user::makes_the_same),
    ("an image that breaks its promise is not published", broken_promise),
    ("the recipe in the README is one that builds and boots", readme::recipe_boots),
];

/// Builds of one day are of one version, and those of the next are not.
const VERSION: [&str; 2] = ["--image-version", "2026.11.24"];

/// Where the story plays.
struct Stage {
    cache: PathBuf,
    output: PathBuf,
}

fn main() -> ExitCode {
    let folder = coremax().with_file_name("boot-tests");
    let output = folder.join("images");
    let _ = fs::remove_dir_all(&output);
    fs::create_dir_all(&output).expect("a folder for the images");
    // Downloads may be there from an earlier run; what is made is made now.
    let _ = fs::remove_dir_all(cache().join("store"));
    tell(&STORY, &Stage { cache: cache(), output })
}

impl Stage {
    fn text(path: &Path) -> &str {
        path.to_str().expect("a path in UTF-8")
    }

    fn build(&self, output: &Path, more: &[&str]) -> Ran {
        let cache = Self::text(&self.cache);
        let fixed = ["build", "recipes/node.toml", "--cache", cache, "-o", Self::text(output)];
        run(&[&fixed, &VERSION[..], more].concat())
    }

    /// A build without a boot test that has begun.
    fn start(&self, output: &Path) -> Child {
        let build = self.command(output).arg("--no-test");
        build.spawn().expect("coremax starts")
    }

    fn command(&self, output: &Path) -> Cmd {
        Cmd::new(coremax(), &Sandbox::host())
            .args(["build", "recipes/node.toml"])
            .args(VERSION)
            .arg("--cache")
            .arg(&self.cache)
            .arg("-o")
            .arg(output)
            .current_dir(repository())
    }

    fn latest(&self) -> PathBuf {
        self.output.join("node/latest")
    }

    fn manifest(&self) -> Result<Value, String> {
        json(&self.latest().join("manifest.json"))
    }
}

fn json(path: &Path) -> Result<Value, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
}

fn succeeded(ran: &Ran) -> Outcome {
    expect(ran.ok, || format!("the command failed:\n{}", ran.err))
}

fn builds_and_boots(stage: &Stage) -> Outcome {
    let ran = stage.build(&stage.output, &[]);
    print!("{}", ran.err);
    succeeded(&ran)?;
    let manifest = stage.manifest()?;
    let boots = manifest["verified"]["boots"].as_array().map_or(0, Vec::len);
    expect(boots == 3, || format!("the manifest proves nothing: {}", manifest["verified"]))
}

fn result_is_true(stage: &Stage) -> Outcome {
    let sums = Cmd::new("sha256sum", &Sandbox::host()).args(["--check", "--strict", "SHA256SUMS"]);
    sums.current_dir(stage.latest()).run().map_err(|e| e.to_string())?;
    let manifest = stage.manifest()?;
    let packages = manifest["packages"].as_array().ok_or("no packages in the manifest")?;
    expect(packages.len() > 100, || format!("{} packages", packages.len()))?;
    let pinned = packages.iter().all(|p| p["sha256"].as_str().is_some_and(|s| s.len() == 64));
    expect(pinned, || "a package without a digest".into())
}

fn image_is_clean(stage: &Stage) -> Outcome {
    let host = Sandbox::host();
    if Cmd::new("qemu-img", &host).args(["--version"]).output().is_err() {
        return Err("skipped: there is no qemu-img here".into());
    }
    let check = Cmd::new("qemu-img", &host).args(["check", "node.qcow2"]);
    check.current_dir(stage.latest()).run().map(drop).map_err(|e| e.to_string())
}

fn report_shows_boots(stage: &Stage) -> Outcome {
    let page = fs::read_to_string(stage.latest().join("report.html")).map_err(|e| e.to_string())?;
    for part in
        ["BIOS", "UEFI", "UEFI + Secure Boot", "EFI, Secure Boot on", "data:image/png;base64,"]
    {
        expect(page.contains(part), || format!("the report lacks {part}"))?;
    }
    let junit = fs::read_to_string(stage.latest().join("junit.xml")).map_err(|e| e.to_string())?;
    expect(junit.contains("failures=\"0\""), || "JUnit tells of failures".into())?;
    json(&stage.latest().join("report.json")).map(drop)
}

fn nothing_twice(stage: &Stage) -> Outcome {
    let ran = stage.build(&stage.output, &[]);
    succeeded(&ran)?;
    expect(ran.err.contains("unchanged"), || format!("it made something:\n{}", ran.err))
}

fn two_at_once(stage: &Stage) -> Outcome {
    forget_all_but(&stage.cache.join("store"), &["tools", "machine"])?;
    let [killed, one, two] = [kills::KILLED, "one", "two"].map(|name| stage.output.join(name));
    let mut builds = [&one, &two].map(|output| stage.start(output));
    for build in &mut builds {
        let status = build.wait().map_err(|e| e.to_string())?;
        expect(status.success(), || format!("a build ended with {status}"))?;
    }
    let first = image_digest(&stage.output)?;
    let killed = killed.exists().then_some(killed);
    for output in [one, two].iter().chain(&killed) {
        let again = image_digest(output)?;
        expect(again == first, || format!("{first} became {again}"))?;
    }
    Ok(())
}

/// Removes what all other steps have made, so that they run again.
fn forget_all_but(store: &Path, steps: &[&str]) -> Outcome {
    for entry in fs::read_dir(store).map_err(|e| e.to_string())?.flatten() {
        let Ok(record) = json(&entry.path().join("step.json")) else { continue };
        if !steps.iter().any(|step| record["step"] == *step) {
            fs::remove_dir_all(entry.path()).map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}

fn image_digest(output: &Path) -> Result<Value, String> {
    let versions = fs::read_dir(output.join("node")).map_err(|e| e.to_string())?;
    let manifest = versions.flatten().map(|v| v.path().join("manifest.json")).find(|m| m.exists());
    Ok(json(&manifest.ok_or("no manifest")?)?["artefacts"][0]["sha256"].clone())
}

fn broken_promise(stage: &Stage) -> Outcome {
    let break_it =
        |node: &str| node.replace("[expect]\nfiles = [", "[expect]\nfiles = [\"/etc/never\", ");
    let project = project("broken", break_it);
    let recipe = project.path().join("recipes/broken.toml");
    let text = fs::read_to_string(recipe).unwrap_or_default();
    expect(text.contains("/etc/never"), || "node.toml has no [expect] files to break".into())?;
    let cache = Stage::text(&stage.cache);
    let output = stage.output.join("broken");
    let build = ["build", "recipes/broken.toml", "--cache", cache, "--firmware", "bios"];
    let ran = run_in(project.path(), &[&build[..], &["-o", Stage::text(&output)]].concat());
    expect(!ran.ok, || "it was published".into())?;
    expect(ran.err.contains("/etc/never"), || format!("the reason is missing:\n{}", ran.err))?;
    expect(!output.join("node/latest").exists(), || "there is a result".into())
}

//! A build by an ordinary user, in another place, with another umask and time zone, against root's.

use std::{fs, path::Path};

use coremax_tests::{Outcome, User, coremax, expect, host, project};

use crate::{Stage, VERSION, image_digest, kills::KILLED};

pub(crate) fn makes_the_same(stage: &Stage) -> Outcome {
    User::possible()?;
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let home = folder.path().join("home");
    furnish(&home, stage)?;
    let user = User::at(&home)?;
    let environment = [("TZ", "Pacific/Kiritimati"), ("LANG", "C")];
    let command = home.join("coremax");
    user.command(&home.join("project"), &environment, &command.to_string_lossy())
        .args(["build", "recipes/user.toml", "--no-test"])
        .args(VERSION)
        .args(["--cache", "../cache", "-o", "../images"])
        .run()
        .map_err(|e| e.to_string())?;
    user.owns(&home.join("images"))?;
    let roots = image_digest(&stage.output.join(KILLED))?;
    let theirs = image_digest(&home.join("images"))?;
    expect(roots == theirs, || format!("root's is {roots}, the user's {theirs}"))
}

/// A home with the command, the recipes and the downloads, and with no finished steps.
fn furnish(home: &Path, stage: &Stage) -> Outcome {
    let cache = home.join("cache");
    fs::create_dir_all(&cache).map_err(|e| e.to_string())?;
    let project = project("user", str::to_owned);
    let copy = |from: &Path, to: &Path| {
        host("cp", &["-a", &from.to_string_lossy(), &to.to_string_lossy()])
    };
    copy(project.path(), &home.join("project"))?;
    copy(&coremax(), &home.join("coremax"))?;
    for part in fs::read_dir(&stage.cache).map_err(|e| e.to_string())?.flatten() {
        if !["store", "machines"].iter().any(|made| part.file_name() == *made) {
            copy(&part.path(), &cache.join(part.file_name()))?;
        }
    }
    Ok(())
}

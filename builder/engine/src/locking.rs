//! Locking: from a recipe and an archive to a lock, and from a lock to what a plan is made of.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context as _, Result};
use coremax_archive::{Side, Universe, distribution, from_control, resolve_keeping};
use coremax_fetch::Input;
use coremax_recipe::{Base, Recipe};
use coremax_rootfs::{Deb, Ids, SERVICES, USERS, are_pinned};

use crate::{
    builder::Builder,
    event::{Observer, Stage, Unit},
    files,
    hint::mendable,
    locked::{self, Changes, Lock, Tree},
    packages::Packages,
    places::Places,
    plan::{Plan, Resolved},
    read::{self, Request},
    resolve::{Archive, asked, request_for},
    run::Step as _,
    steps::{System, site, system},
    store::Entry,
};

/// Which packages of a lock may move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moving {
    /// None but for what the recipe asks for anew.
    None,
    /// These, and what they need.
    Named(BTreeSet<String>),
    /// All.
    All,
}

impl Builder {
    /// Writes the lock of a recipe beside it, from what is locked already and what the archive has now. The system is
    /// built where it is not stored, since only its maintainer scripts know which accounts there are.
    ///
    /// # Errors
    /// What is wrong with the recipe, its lock, the archive, or the build.
    pub fn lock(
        &self,
        request: &Request,
        moving: &Moving,
        observer: Observer<'_>,
    ) -> Result<Changes> {
        let recipe = read::recipe(request, observer)?;
        let stage = Stage::new("lock", observer);
        stage.started("asking the archive", None, Unit::Count);
        self.remote()?.sources.warn_of_ignored(&stage);
        let path = request.lock()?;
        let before = Lock::find(&path)?;
        let others = others(request, &path)?;
        // Another base has other packages; the recipe's own base may have been this one, or another.
        let is_of_base = |lock: &&Lock| lock.base == recipe.base.as_str();
        let kept = before.iter().chain(&others).find(is_of_base);
        let ids = ids_of(before.iter().chain(&others));
        let resolved = Resolved { ids, ..self.resolve_moving(&recipe, kept, moving, &stage)? };
        let mut lock = Lock {
            recipe: recipe.name.to_string(),
            base: recipe.base.to_string(),
            epoch: resolved.epoch,
            asked: asked(&recipe)?,
            users: resolved.ids.users.clone(),
            groups: resolved.ids.groups.clone(),
            inputs: files::digests(&recipe)?,
            packages: locked::join([&resolved.packages, &resolved.tools, &resolved.machine])?,
        };
        let system = resolved.system();
        let plan = Plan::new(number(recipe, &resolved.ids), resolved)?;
        let (ids, made) = self.ids(&plan, observer)?;
        lock.users.extend(ids.users);
        lock.groups.extend(ids.groups);
        lock.write(&path)?;
        // A cache that cannot be written only costs the time.
        let _ = self.adopt(&System { ids: lock.ids(), ..system }, &made);
        stage.ended(format!("{}, {} packages", path.display(), lock.packages.len()), None);
        Ok(Changes::between(before.as_ref(), &lock))
    }

    /// What a recipe's lock says, for a recipe that agrees with it, and the recipe with its accounts numbered.
    pub(crate) fn resolve_locked(
        &self,
        recipe: Recipe,
        request: &Request,
        stage: &Stage<'_>,
    ) -> Result<(Recipe, Resolved)> {
        let lock = locked_for(request)?;
        lock.agree(&recipe, request)?;
        let places = self.places(&recipe, &lock, stage)?;
        let packages = |tree| {
            Packages::new(lock.set(tree, &|suite| places.number(suite)), &places, &self.inputs)
        };
        let resolved = Resolved {
            distribution: distribution(recipe.base.as_str())?,
            packages: packages(Tree::Image),
            tools: packages(Tree::Tools),
            machine: packages(Tree::Machine),
            epoch: lock.epoch,
            ids: lock.ids(),
            locked: Some(request.locking()),
        };
        Ok((number(recipe, &lock.ids()), resolved))
    }

    /// Everywhere that a locked package of the recipe may be fetched from.
    fn places(&self, recipe: &Recipe, lock: &Lock, stage: &Stage<'_>) -> Result<Places> {
        let mut places = match self.archive.offline {
            true => Places::default().offline(true),
            false => Places::of(recipe, &self.remote()?.sources.of_recipe(recipe, stage)?),
        };
        places = places.with_shelf(self.archive.inputs.as_deref());
        // This host may have no mirror for one, and the snapshot has it all the same.
        for package in &lock.packages {
            places.add(&package.suite);
        }
        let suites = distribution(recipe.base.as_str())?.suites;
        let of =
            |side| move |name: &str| suites.iter().any(|(suite, s)| *suite == name && *s == side);
        let main = recipe.lock.snapshot.as_ref();
        let security = recipe.lock.snapshot_security.as_ref().or(main);
        for (side, snapshot) in [(Side::Main, main), (Side::Security, security)] {
            if let Some(snapshot) = snapshot {
                places.also(of(side), snapshot.as_ref());
            }
        }
        Ok(places)
    }

    /// Resolves with as little moving as `moving` allows.
    fn resolve_moving(
        &self,
        recipe: &Recipe,
        kept: Option<&Lock>,
        moving: &Moving,
        stage: &Stage<'_>,
    ) -> Result<Resolved> {
        let (lock, freed) = match (kept, moving) {
            (None, _) | (_, Moving::All) => return self.resolve(recipe, stage),
            (Some(lock), Moving::None) => (lock, BTreeSet::new()),
            (Some(lock), Moving::Named(names)) => (lock, known(names, lock)?),
        };
        let sources = self.remote()?.sources.of_recipe(recipe, stage)?;
        let archive = Archive::open(self, &sources)?;
        let universe = archive.load(stage)?;
        let places = self.places(recipe, lock, stage)?;
        let asked = asked(recipe)?;
        let freed = &freed | &of_archives_that_went(recipe, lock);
        let packages = |tree| -> Result<Packages> {
            let kept = self.restored(lock, tree, &freed, &universe, &places)?;
            let set =
                resolve_keeping(&universe.packages, &kept, &freed, &request_for(tree, &asked));
            Ok(Packages::new(set?, &places, &self.inputs))
        };
        Ok(Resolved {
            packages: packages(Tree::Image)?,
            tools: packages(Tree::Tools).context("for the tools tree")?,
            machine: packages(Tree::Machine).context("for QEMU")?,
            distribution: distribution(recipe.base.as_str())?,
            epoch: lock.epoch,
            ids: Ids::default(),
            locked: None,
        })
    }

    /// The locked packages of a tree that are not freed, with their relations: from the archive's index, or where that has another version
    /// by now, from the .deb itself.
    fn restored(
        &self,
        lock: &Lock,
        tree: Tree,
        freed: &BTreeSet<String>,
        universe: &Universe,
        places: &Places,
    ) -> Result<Vec<coremax_archive::Package>> {
        let set = lock.set(tree, &|suite| places.number(suite)).selected;
        let locked = set.into_iter().map(|selected| selected.package);
        let stays = locked.filter(|package| !freed.contains(&package.name));
        let mut kept: Vec<_> = stays
            .map(|locked| {
                let same = |offered: &&coremax_archive::Package| {
                    offered.name == locked.name && offered.digest == locked.digest
                };
                let found = universe.packages.iter().find(same).cloned();
                let source = locked.source;
                coremax_archive::Package { source, ..found.unwrap_or(locked) }
            })
            .collect();
        let is_bare = |package: &&mut coremax_archive::Package| package.priority.is_empty();
        let mut bare: Vec<_> = kept.iter_mut().filter(is_bare).collect();
        let inputs: Vec<Input> = bare.iter().map(|package| places.input(package)).collect();
        let paths = self.remote()?.fetcher.fetch_all(&inputs, &|_| ());
        let paths = paths.context("fetching packages that the archive has no longer")?;
        for ((package, input), path) in bare.iter_mut().zip(&inputs).zip(paths) {
            **package = described(package, input, &path)?;
        }
        Ok(kept)
    }

    /// The numbers of all accounts of what a plan builds, and its system.
    fn ids(&self, plan: &Plan, observer: Observer<'_>) -> Result<(Ids, Entry)> {
        let wanted = if plan.recipe.users.is_empty() { system::ID } else { site::ID };
        let outputs = self.run(&plan.steps, &[system::ID, wanted], &[], observer);
        let outputs = outputs.with_context(|| format!("building {}", plan.recipe.name))?;
        let made = outputs.entry(system::ID).context("the system was not made")?;
        let mut ids = Ids::of(&made.out.join(system::TREE))?;
        if wanted == site::ID {
            let laid = Ids::of(&outputs.path(site::ID, site::LAYER))?;
            ids.users.extend(laid.users);
            ids.groups.extend(laid.groups);
        }
        Ok((ids, made.clone()))
    }

    /// Stores what was made to learn the numbers also as what a build of the lock makes: no script knows which numbers are
    /// pinned, and all have come to theirs.
    fn adopt(&self, locked: &System, made: &Entry) -> Result<()> {
        match are_pinned(&made.out.join(system::TREE), &locked.ids)? {
            true => self.store.alias(&locked.fingerprint(), made),
            false => Ok(()),
        }
    }
}

/// The recipe's locks for other bases.
fn others(request: &Request, path: &Path) -> Result<Vec<Lock>> {
    let bases = Base::all().iter().map(|base| Some(base.as_str()));
    let paths = std::iter::once(None).chain(bases);
    let paths = paths.map(|base| locked::path_of(&request.recipe, base));
    let locks = paths.filter(|other| other != path).map(|other| Lock::find(&other));
    Ok(locks.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// The numbers of accounts, which are the same on all bases: machines keep their files. The first lock's hold; the others add
/// names that it lacks, where nobody has their numbers.
fn ids_of<'a>(locks: impl Iterator<Item = &'a Lock>) -> Ids {
    let mut ids = Ids::default();
    for lock in locks {
        for (have, said) in [(&mut ids.users, &lock.users), (&mut ids.groups, &lock.groups)] {
            let taken: BTreeSet<u32> = have.values().copied().collect();
            let is_new =
                |(name, id): &(&String, &u32)| !have.contains_key(*name) && !taken.contains(id);
            let new: Vec<_> = said.iter().filter(is_new).map(|(n, id)| (n.clone(), *id)).collect();
            have.extend(new);
        }
    }
    ids
}

/// The locked packages of the recipe's own archives that it names no longer: nobody vouches for them any more.
fn of_archives_that_went(recipe: &Recipe, lock: &Lock) -> BTreeSet<String> {
    let named: BTreeSet<_> = recipe
        .archives
        .iter()
        .flat_map(|archive| {
            archive.suites.iter().map(move |suite| format!("{}/{suite}", archive.name))
        })
        .collect();
    // A suite of the base has no archive in its name.
    let went = |suite: &str| suite.contains('/') && !named.contains(suite);
    let packages = lock.packages.iter().filter(|package| went(&package.suite));
    packages.map(|package| package.name.to_string()).collect()
}

/// The lock of a request that needs one.
fn locked_for(request: &Request) -> Result<Lock> {
    let path = request.lock()?;
    let missing = || {
        let text =
            format!("{} has no lock: {} is not there", request.recipe.display(), path.display());
        mendable(text, format!("make it with {}", request.locking()))
    };
    Lock::find(&path)?.ok_or_else(missing)
}

/// The recipe with the numbers that its own accounts and their groups had before. New ones get numbers that nobody had: what an account
/// leaves behind on machines is not the next one's.
fn number(mut recipe: Recipe, ids: &Ids) -> Recipe {
    let mut taken: BTreeSet<u32> = ids.users.values().chain(ids.groups.values()).copied().collect();
    if taken.is_empty() {
        return recipe;
    }
    taken.extend(recipe.users.iter().filter_map(|user| user.uid));
    for user in recipe.users.iter_mut().filter(|user| user.uid.is_none()) {
        let mut range = if user.system { SERVICES } else { USERS };
        let had = ids.users.get(user.name.as_str()).copied();
        user.uid = had.or_else(|| range.find(|number| !taken.contains(number)));
        taken.extend(user.uid);
    }
    for user in &mut recipe.users {
        user.gid = ids.groups.get(user.name.as_str()).copied();
    }
    recipe
}

/// Refuses names that are not locked.
fn known(names: &BTreeSet<String>, lock: &Lock) -> Result<BTreeSet<String>> {
    let locked: BTreeSet<_> =
        lock.packages.iter().map(|package| package.name.to_string()).collect();
    match names.difference(&locked).next() {
        None => Ok(names.clone()),
        Some(name) => Err(mendable(
            format!("{name} is not in the lock"),
            "name packages as the lock does; what the recipe asks for anew, coremax lock takes in without --update"
                .to_owned(),
        )),
    }
}

/// A locked package as its .deb describes it.
fn described(
    locked: &coremax_archive::Package,
    input: &Input,
    path: &Path,
) -> Result<coremax_archive::Package> {
    let deb = Deb {
        name: locked.name.clone(),
        version: locked.version.clone(),
        architecture: locked.architecture.clone(),
        path: path.to_owned(),
    };
    let control = deb.control()?;
    let text: String =
        control.stanza.fields().map(|(name, value)| format!("{name}: {value}\n")).collect();
    let package = from_control(&text, input, &locked.filename)?;
    Ok(coremax_archive::Package { source: locked.source, pin: locked.pin, ..package })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(suites: &[&str], users: &str) -> Lock {
        let digest = "a".repeat(64);
        let mut text = format!(
            "format = 1\nrecipe = \"a\"\nbase = \"debian-12\"\nepoch = 1\n[asked]\nimage = []\nexclude = []\n\
             recommends = false\ntools = []\nmachine = []\n[users]\n{users}\n[groups]\n"
        );
        for (number, suite) in suites.iter().enumerate() {
            text += &format!(
                "[[package]]\nname = \"p{number}\"\nversion = \"1\"\narchitecture = \"all\"\nsuite = \"{suite}\"\n\
                 pool = \"p\"\nsize = 1\ninstalled = 1\nsha256 = \"{digest}\"\nin = [\"image\"]\n"
            );
        }
        locked::parse("a.lock", &text).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn accounts_have_one_number_on_all_bases() {
        let of = |users| lock(&["bookworm"], users);
        let locks = [of("root = 0\nada = 1000"), of("root = 0\nbob = 1000\neve = 1001")];
        let ids = ids_of(locks.iter()).users;
        let shown: Vec<_> = ids.iter().map(|(name, id)| format!("{name}={id}")).collect();
        assert_eq!(shown, ["ada=1000", "eve=1001", "root=0"], "bob's number is ada's here");
    }

    #[test]
    fn packages_of_an_archive_that_went_are_not_kept() {
        let text = "name = \"a\"\nsummary = \"b\"\nbase = \"debian-12\"\n[[archive]]\nname = \"own\"\n\
                    mirror = \"http://own.example\"\nsuites = [\"x\"]\n[[output]]\nformat = \"raw\"\n";
        let part = coremax_recipe::parse("a.toml", text).unwrap();
        let recipe = coremax_recipe::merge(&part, &[], Path::new(""), None).unwrap();
        let lock = lock(&["bookworm", "own/x", "own/y", "other/x"], "");
        let went = of_archives_that_went(&recipe, &lock);
        assert_eq!(went.into_iter().collect::<Vec<_>>(), ["p2", "p3"]);
    }

    #[test]
    fn a_new_account_gets_no_number_that_another_had() {
        let text = "name = \"a\"\nsummary = \"b\"\nbase = \"debian-12\"\n[[user]]\nname = \"bob\"\n\
                    [[user]]\nname = \"ada\"\n[[user]]\nname = \"eve\"\n[[output]]\nformat = \"raw\"\n";
        let part = coremax_recipe::parse("a.toml", text).unwrap();
        let recipe = coremax_recipe::merge(&part, &[], Path::new(""), None).unwrap();
        let numbers = |recipe: Recipe, users: &[(&str, u32)]| {
            let users = users.iter().map(|(name, id)| ((*name).to_owned(), *id)).collect();
            let recipe = number(recipe, &Ids { users, ..Ids::default() });
            recipe.users.iter().map(|user| user.uid).collect::<Vec<_>>()
        };
        assert_eq!(
            numbers(recipe.clone(), &[]),
            [None; 3],
            "they are given when the system is known"
        );
        let locked = [("root", 0), ("alice", 1000), ("ada", 1001)];
        assert_eq!(numbers(recipe.clone(), &locked), [Some(1002), Some(1001), Some(1003)]);
        let ids = Ids {
            users: [("ada".to_owned(), 1001)].into(),
            groups: [("ada".to_owned(), 1007)].into(),
        };
        let gids = number(recipe, &ids).users.into_iter().map(|user| user.gid);
        assert_eq!(gids.collect::<Vec<_>>(), [None, Some(1007), None]);
    }
}

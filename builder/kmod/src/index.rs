//! The index of a kernel's modules, as depmod(8) writes it beside them.
//!
//! `modules.dep` has a line `PATH: NEEDED...` for each module, all it needs in the reverse of the order
//! in which they are loaded; `modules.builtin` has the path that each built-in one would have.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Error, Name,
    aliases::Aliases,
    soft::{self, Soft},
};

const DEP: &str = "modules.dep";

/// The text of the files that depmod writes; one that is missing is empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct Files<'a> {
    /// modules.dep
    pub dep: &'a str,
    /// modules.alias
    pub alias: &'a str,
    /// modules.softdep
    pub softdep: &'a str,
    /// modules.builtin
    pub builtin: &'a str,
}

/// A kernel's modules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    pub(crate) modules: BTreeMap<Name, Module>,
    pub(crate) builtin: BTreeSet<Name>,
    pub(crate) aliases: Aliases,
    pub(crate) soft: BTreeMap<Name, Soft>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Module {
    /// Below the kernel's folder of modules.
    pub(crate) path: String,
    /// In the order of the file: what is loaded first comes last.
    pub(crate) needs: Vec<Name>,
}

impl Index {
    /// Reads the files of one kernel. Never panics.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn parse(files: Files<'_>) -> Result<Self, Error> {
        Ok(Self {
            modules: modules(files.dep)?,
            builtin: files.builtin.lines().filter_map(Name::of_file).collect(),
            aliases: Aliases::parse(files.alias)?,
            soft: soft::parse(files.softdep)?,
        })
    }

    /// Where a module lies below the kernel's folder of modules; nothing for a built-in one.
    pub fn path(&self, module: &Name) -> Option<&str> {
        self.modules.get(module).map(|module| module.path.as_str())
    }

    /// Whether the module is a part of the kernel itself.
    pub fn is_builtin(&self, module: &Name) -> bool {
        self.builtin.contains(module)
    }

    /// All modules, by name.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.modules.keys()
    }

    /// The modules that say they drive a device with this modalias, by name.
    pub fn matching(&self, modalias: &str) -> Vec<&Name> {
        self.aliases.matching(modalias).into_iter().collect()
    }

    /// What to load for a module, in order: what it wants and needs first, then itself, then what it
    /// wants after it. Empty where it is built in. Soft dependencies that are missing are left out.
    ///
    /// # Errors
    /// [`Error::Unknown`] and [`Error::Missing`].
    pub fn load_order(&self, module: &Name) -> Result<Vec<&Name>, Error> {
        let mut order = Order { index: self, seen: BTreeSet::new(), names: Vec::new() };
        match order.visit(module) {
            Err(Error::Unknown(needed)) if needed != *module => {
                Err(Error::Missing { module: module.clone(), needed })
            }
            other => other.map(|()| order.names),
        }
    }

    /// These modules with all that they need and want.
    ///
    /// # Errors
    /// [`Error::Unknown`] and [`Error::Missing`].
    pub fn closure<'a>(
        &'a self,
        modules: impl IntoIterator<Item = &'a Name>,
    ) -> Result<BTreeSet<Name>, Error> {
        let mut all = BTreeSet::new();
        for module in modules {
            all.extend(self.load_order(module)?.into_iter().cloned());
        }
        Ok(all)
    }

    /// The modules that a soft dependency means: one of this name, or those that have it as alias.
    fn meant_by(&self, name: &str) -> Vec<&Name> {
        match self.modules.get_key_value(&Name::new(name)) {
            Some((module, _)) => vec![module],
            None => self.matching(name),
        }
    }
}

struct Order<'a> {
    index: &'a Index,
    seen: BTreeSet<&'a Name>,
    names: Vec<&'a Name>,
}

impl<'a> Order<'a> {
    fn visit(&mut self, name: &Name) -> Result<(), Error> {
        let index = self.index;
        let Some((name, module)) = index.modules.get_key_value(name) else {
            let known = index.is_builtin(name);
            return if known { Ok(()) } else { Err(Error::Unknown(name.clone())) };
        };
        if !self.seen.insert(name) {
            return Ok(());
        }
        let soft = index.soft.get(name);
        self.wish(soft.map_or(&[], |soft| &soft.pre));
        module.needs.iter().rev().try_for_each(|needed| self.visit(needed))?;
        self.names.push(name);
        self.wish(soft.map_or(&[], |soft| &soft.post));
        Ok(())
    }

    fn wish(&mut self, names: &[String]) {
        for module in names.iter().flat_map(|name| self.index.meant_by(name)) {
            let _ = self.visit(module); // a wish that cannot be had is no error
        }
    }
}

fn modules(text: &str) -> Result<BTreeMap<Name, Module>, Error> {
    (1..)
        .zip(text.lines())
        .map(|(number, line)| {
            let malformed = |what| Error::Malformed { file: DEP, line: number, what };
            let (path, needs) = line.split_once(':').ok_or(malformed("no colon"))?;
            let name = Name::of_file(path).ok_or(malformed("not a module's file"))?;
            let needs = needs.split_whitespace().map(Name::of_file).collect::<Option<_>>();
            let needs = needs.ok_or(malformed("needs what is not a module's file"))?;
            Ok((name, Module { path: path.to_owned(), needs }))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn index() -> Index {
        Index::parse(Files {
            dep: "kernel/fs/ext4/ext4.ko.zst: kernel/fs/jbd2.ko kernel/lib/crc16.ko kernel/lib/base.ko\n\
                  kernel/fs/jbd2.ko: kernel/lib/base.ko\nkernel/lib/crc16.ko: kernel/lib/base.ko\n\
                  kernel/lib/base.ko:\nkernel/a/crc32c-intel.ko:\nkernel/a/crc32c_generic.ko:\n\
                  kernel/a/one.ko:\nkernel/a/two.ko:\nkernel/a/lone.ko: kernel/a/gone.ko\n",
            alias: "alias crypto-crc32c crc32c_intel\nalias crypto-crc32c crc32c_generic\n",
            softdep: "softdep ext4 pre: crypto-crc32c no-such\nsoftdep one pre: two\n\
                      softdep two pre: one\nsoftdep base post: one\n",
            builtin: "kernel/crypto/sha256.ko\n",
        })
        .unwrap()
    }

    fn order(name: &str) -> String {
        let index = index();
        let order = index.load_order(&Name::new(name)).unwrap();
        order.into_iter().map(Name::as_str).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn needed_and_wanted_come_first() {
        assert_eq!(order("ext4"), "crc32c_generic crc32c_intel base two one crc16 jbd2 ext4");
        assert_eq!(order("one"), "two one");
        assert_eq!(order("sha256"), "");
    }

    #[test]
    fn what_is_missing_is_named() {
        let index = index();
        let error = index.load_order(&Name::new("lone")).unwrap_err();
        assert_eq!(error.to_string(), "lone needs gone, which this kernel has not");
        assert!(matches!(index.load_order(&Name::new("moon")), Err(Error::Unknown(_))));
        for (dep, what) in
            [("a.ko", "no colon"), ("a: ", "not a module"), ("a.ko: b", "needs what")]
        {
            let error = Index::parse(Files { dep, ..Files::default() }).unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
        }
    }

    proptest! {
        #[test]
        fn every_order_holds_what_it_needs(edges in prop::collection::vec((0_u8..12, 0_u8..12), 0..40)) {
            let dep: String = (0..12_u8)
                .map(|a| {
                    let needs = edges.iter().filter(|(from, to)| *from == a && to < from);
                    let needs: String = needs.map(|(_, to)| format!(" m{to}.ko")).collect();
                    format!("m{a}.ko:{needs}\n")
                })
                .collect();
            let index = Index::parse(Files { dep: &dep, ..Files::default() }).unwrap();
            for name in index.names() {
                let order = index.load_order(name).unwrap();
                for (place, module) in order.iter().enumerate() {
                    for needed in &index.modules[*module].needs {
                        prop_assert!(order[..place].contains(&needed));
                    }
                }
            }
        }

        #[test]
        fn foreign_text_never_panics(text in any::<String>()) {
            let _ = Index::parse(Files { dep: &text, alias: &text, softdep: &text, builtin: &text });
        }
    }
}

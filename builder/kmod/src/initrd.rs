//! What the builder writes into an initrd: the files of the chosen modules and an index of these
//! alone.

use std::collections::BTreeSet;

use crate::{Compression, Index, Name, name, soft};

/// The modules of an initrd and their index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initrd {
    /// Pairs of paths below the kernel's folder of modules: in the kernel's tree, perhaps compressed,
    /// and in the initrd. By name.
    pub files: Vec<(String, String)>,
    /// The text of modules.dep.
    pub dep: String,
    /// The text of modules.alias.
    pub alias: String,
    /// The text of modules.softdep.
    pub softdep: String,
    /// The text of modules.builtin.
    pub builtin: String,
}

impl Index {
    /// What an initrd with these modules, compressed so, holds; those the index has not are left
    /// out. Always the same for the same modules.
    pub fn initrd(&self, modules: &BTreeSet<Name>, compression: Compression) -> Initrd {
        let kept = self.modules.iter().filter(|(name, _)| modules.contains(*name));
        let mut dep = String::new();
        let mut files = Vec::new();
        for (_, module) in kept {
            let packed = |path| name::packed(path, compression);
            let needs = module.needs.iter().filter_map(|name| self.path(name)).map(packed);
            let needs: String = needs.map(|path| format!(" {path}")).collect();
            let path = packed(&module.path);
            dep.push_str(&format!("{path}:{needs}\n"));
            files.push((module.path.clone(), path));
        }
        Initrd {
            files,
            dep,
            alias: self.aliases.render(modules),
            softdep: soft::render(&self.soft, modules),
            builtin: self.builtin.iter().map(|name| format!("{name}.ko\n")).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Files;

    #[test]
    fn an_initrd_has_its_own_index() {
        let index = Index::parse(Files {
            dep: "kernel/a-b.ko.zst: kernel/c.ko.zst\nkernel/c.ko.zst:\nkernel/d.ko.zst:\n",
            alias: "alias x:* a-b\nalias y:* d\n",
            softdep: "softdep a-b pre: x\nsoftdep d pre: c\n",
            builtin: "kernel/e-f.ko\n",
        })
        .unwrap();
        let modules = index.closure([&Name::new("a-b")]).unwrap();
        let initrd = index.initrd(&modules, Compression::Plain);
        assert_eq!(initrd.files[0], ("kernel/a-b.ko.zst".into(), "kernel/a-b.ko".into()));
        assert_eq!(initrd.dep, "kernel/a-b.ko: kernel/c.ko\nkernel/c.ko:\n");
        assert_eq!(initrd.alias, "alias x:* a_b\n");
        assert_eq!(initrd.softdep, "softdep a_b pre: x\n");
        let files = Files {
            dep: &initrd.dep,
            alias: &initrd.alias,
            softdep: &initrd.softdep,
            builtin: &initrd.builtin,
        };
        let small = Index::parse(files).unwrap();
        assert_eq!(
            small.load_order(&Name::new("a_b")).unwrap(),
            ["c", "a_b"].map(Name::new).iter().collect::<Vec<_>>()
        );
        assert!(small.is_builtin(&Name::new("e_f")) && small.path(&Name::new("d")).is_none());
    }
}

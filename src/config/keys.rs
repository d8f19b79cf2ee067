//! The keys of a configuration file, to tell what changed between two readings. Values are never shown: some are secrets.

use super::Table;
use std::path::Path;

/// The keys of a file with their values, as they are written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Keys(Table);

impl Keys {
    /// Reads the file; without one there are none.
    pub fn read(file: Option<&Path>) -> Result<Keys, String> {
        let Some(path) = file else { return Ok(Keys::default()) };
        let text = std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        text.parse().map(Keys).map_err(|_| format!("{} is no TOML", path.display()))
    }

    /// The keys, as `section.key`, whose values are others in `new`.
    pub fn changed(&self, new: &Keys) -> Vec<String> {
        let mut changed = Vec::new();
        for section in names(&self.0, &new.0) {
            let (old, new) = (self.0.get(section), new.0.get(section));
            if old == new {
                continue;
            }
            let (old, new) = (old.and_then(|old| old.as_table()), new.and_then(|new| new.as_table()));
            if old.is_none() && new.is_none() {
                changed.push(section.clone());
                continue;
            }
            let none = Table::new();
            let (old, new) = (old.unwrap_or(&none), new.unwrap_or(&none));
            let differing = names(old, new).into_iter().filter(|key| old.get(*key) != new.get(*key));
            changed.extend(differing.map(|key| format!("{section}.{key}")));
        }
        changed
    }

    /// Takes the value of one key, `section.key`, from `new`.
    pub fn take_over(&mut self, new: &Keys, key: &str) {
        let Some((section, name)) = key.split_once('.') else { return };
        let value = new.0.get(section).and_then(|section| section.get(name)).cloned();
        let section = self.0.entry(section).or_insert_with(|| Table::new().into());
        let Some(section) = section.as_table_mut() else { return };
        match value {
            Some(value) => section.insert(name.to_owned(), value),
            None => section.remove(name),
        };
    }
}

fn names<'t>(one: &'t Table, other: &'t Table) -> Vec<&'t String> {
    let mut names: Vec<&String> = one.keys().chain(other.keys()).collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_keys_are_named_and_nothing_else() {
        let keys = |text: &str| Keys(text.parse().unwrap());
        let old = keys("a = 1\n[log]\nlevel = \"info\"\n[store]\ndata = \"x\"");
        let new = keys("a = 1\n[log]\nlevel = \"warn\"\nrequests = true");
        assert_eq!(old.changed(&new), ["log.level", "log.requests", "store.data"]);
        let mut now = old.clone();
        now.take_over(&new, "log.level");
        now.take_over(&new, "log.requests");
        assert_eq!(now.changed(&new), ["store.data"]);
    }
}

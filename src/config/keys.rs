//! The keys of a configuration file as they are written, to tell what changed between two readings.

use std::path::Path;
use toml::{Table, Value};

/// The keys of one reading.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Keys(Table);

impl Keys {
    /// Reads them; none without a file.
    pub fn read(file: Option<&Path>) -> Result<Keys, String> {
        let Some(path) = file else { return Ok(Keys::default()) };
        let text = std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        toml::from_str(&text).map(Keys).map_err(|_| format!("{} is no TOML", path.display()))
    }

    /// The keys, `section.key`, whose values differ. Values are never shown: some are secrets.
    pub fn changed(&self, new: &Keys) -> Vec<String> {
        let (old, new) = (&self.0, &new.0);
        let mut changed = Vec::new();
        for section in names(old, new) {
            match (old.get(section), new.get(section)) {
                (Some(Value::Table(old)), Some(Value::Table(new))) => {
                    let differing = names(old, new).into_iter().filter(|key| old.get(*key) != new.get(*key));
                    changed.extend(differing.map(|key| format!("{section}.{key}")));
                }
                (Some(Value::Table(table)), None) | (None, Some(Value::Table(table))) => {
                    changed.extend(table.keys().map(|key| format!("{section}.{key}")));
                }
                (old, new) if old != new => changed.push(section.clone()),
                _ => {}
            }
        }
        changed
    }

    /// Notes that the value which another reading gives to a key is in force now.
    pub fn take_over(&mut self, new: &Keys, key: &str) {
        let Some((section, name)) = key.split_once('.') else { return };
        let value = new.0.get(section).and_then(|table| table.get(name)).cloned();
        let table = self.0.entry(section).or_insert_with(|| Value::Table(Table::new()));
        let Some(table) = table.as_table_mut() else { return };
        match value {
            Some(value) => table.insert(name.to_owned(), value),
            None => table.remove(name),
        };
    }
}

/// The names in either table, each once.
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
        let read = |text: &str| Keys(toml::from_str(text).unwrap());
        let old = read("a = 1\n[log]\nlevel = \"info\"\n[store]\ndata = \"x\"");
        let new = read("a = 1\n[log]\nlevel = \"warn\"\nrequests = true");
        assert_eq!(old.changed(&new), ["log.level", "log.requests", "store.data"]);
        let mut keys = old.clone();
        keys.take_over(&new, "log.level");
        keys.take_over(&new, "log.requests");
        assert_eq!(keys.changed(&new), ["store.data"]);
    }
}

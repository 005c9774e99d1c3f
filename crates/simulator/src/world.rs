//! Everything the server knows: repositories by name and id, former names, tokens.

use std::collections::HashMap;

use anyhow::{Context, bail, ensure};
use serde_json::json;

use crate::TokenGrant;
use crate::dataset::item::Item;
use crate::dataset::{Gone, Repository};
use crate::github::extras::Extras;

#[derive(Debug, Default)]
pub(crate) struct World {
    repositories: Vec<Repository>,
    former_names: HashMap<String, u64>,
    pub(crate) tokens: Vec<TokenGrant>,
    /// No token was configured: whoever sends one may read everything.
    pub(crate) any_token: bool,
    pub(crate) extras: Extras,
}

/// What a name in a URL leads to.
#[derive(Debug)]
pub(crate) enum Lookup {
    Found(usize),
    Renamed(u64),
    Unknown,
}

impl World {
    pub(crate) fn new(repositories: Vec<Repository>, tokens: Vec<TokenGrant>) -> anyhow::Result<Self> {
        let any_token = tokens.is_empty();
        let mut world = Self { tokens, any_token, ..Self::default() };
        for repository in repositories {
            world.add(repository)?;
        }
        Ok(world)
    }

    /// Adds a repository; its name and id must be new.
    pub(crate) fn add(&mut self, repository: Repository) -> anyhow::Result<()> {
        ensure!(
            self.repositories
                .iter()
                .all(|known| known.id != repository.id && !same(&known.full_name, &repository.full_name)),
            "repository {} is there already",
            repository.full_name
        );
        self.repositories.push(repository);
        Ok(())
    }

    pub(crate) fn repositories(&self) -> impl Iterator<Item = &Repository> {
        self.repositories.iter()
    }

    pub(crate) fn repository(&self, index: usize) -> &Repository {
        &self.repositories[index]
    }

    pub(crate) fn repository_mut(&mut self, index: usize) -> &mut Repository {
        &mut self.repositories[index]
    }

    pub(crate) fn by_name(&self, full_name: &str) -> Lookup {
        if let Some(index) = self.repositories.iter().position(|known| same(&known.full_name, full_name)) {
            return Lookup::Found(index);
        }
        match self.former_names.get(&full_name.to_lowercase()) {
            Some(id) => Lookup::Renamed(*id),
            None => Lookup::Unknown,
        }
    }

    pub(crate) fn by_id(&self, id: u64) -> Option<usize> {
        self.repositories.iter().position(|known| known.id == id)
    }

    pub(crate) fn get_mut(&mut self, full_name: &str) -> anyhow::Result<&mut Repository> {
        match self.by_name(full_name) {
            Lookup::Found(index) => Ok(&mut self.repositories[index]),
            _ => bail!("there is no repository {full_name}"),
        }
    }

    pub(crate) fn touch(&mut self, repository: &str, numbers: &[u64]) -> anyhow::Result<()> {
        let repository = self.get_mut(repository)?;
        for number in numbers {
            ensure!(repository.touch(*number), "{} has no item {number}", repository.full_name);
        }
        Ok(())
    }

    pub(crate) fn delete_issue(&mut self, repository: &str, number: u64) -> anyhow::Result<()> {
        let repository = self.get_mut(repository)?;
        repository.items.remove(&number).with_context(|| format!("there is no issue {number}"))?;
        repository.gone.insert(number, Gone::Deleted);
        repository.changed();
        Ok(())
    }

    /// Moves an issue with its comments and history to another repository; answers its new number.
    pub(crate) fn transfer_issue(&mut self, from: &str, number: u64, to: &str) -> anyhow::Result<u64> {
        let (target_id, new_number) = {
            let target = self.get_mut(to)?;
            (target.id, target.next_number())
        };
        let source = self.get_mut(from)?;
        ensure!(source.id != target_id, "{to} is where the issue is already");
        let item = source.items.get(&number).with_context(|| format!("{from} has no issue {number}"))?;
        ensure!(item.pull.is_none(), "{number} is a pull request, which cannot be transferred");
        let from_name = source.full_name.clone();
        let Some(mut item) = source.items.remove(&number) else { bail!("{from} has no issue {number}") };
        expand_item(source, &mut item);
        source.gone.insert(number, Gone::Transferred { repository: target_id, number: new_number });
        source.changed();
        let target = self.get_mut(to)?;
        let to_name = target.full_name.clone();
        for text in texts(&mut item) {
            let moved = text
                .replace(&format!("{from_name}/issues/{number}"), &format!("{to_name}/issues/{new_number}"))
                .replace(&format!("/{from_name}"), &format!("/{to_name}"));
            *text = target.fragments.compact(&moved).into();
        }
        item.number = new_number;
        target.insert(item);
        let at = target.tick();
        target.edit(new_number, at, |issue| issue["number"] = json!(new_number));
        Ok(new_number)
    }

    /// Renames; the old name answers 301 from now on.
    pub(crate) fn rename_repository(&mut self, from: &str, to: &str) -> anyhow::Result<()> {
        ensure!(to.split('/').filter(|part| !part.is_empty()).count() == 2, "{to} is not owner/name");
        ensure!(!matches!(self.by_name(to), Lookup::Found(_)), "repository {to} is there already");
        let repository = self.get_mut(from)?;
        let (id, former) = (repository.id, repository.full_name.to_lowercase());
        repository.rename(to);
        for granted in self.tokens.iter_mut().filter_map(|grant| grant.repositories.as_mut()).flatten() {
            if same(granted, from) {
                to.clone_into(granted);
            }
        }
        self.former_names.remove(&to.to_lowercase());
        self.former_names.insert(former, id);
        Ok(())
    }
}

/// Whether two repository names are one; GitHub ignores case.
pub(crate) fn same(left: &str, right: &str) -> bool {
    left.eq_ignore_ascii_case(right)
}

fn expand_item(repository: &Repository, item: &mut Item) {
    for text in texts(item) {
        *text = repository.fragments.expand(text).into();
    }
}

fn texts(item: &mut Item) -> impl Iterator<Item = &mut Box<str>> {
    let rows = item.comments.iter_mut().chain(&mut item.timeline);
    std::iter::once(&mut item.issue).chain(rows.map(|row| &mut row.text))
}

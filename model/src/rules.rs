//! The ruleset of services as nft prints it, and whether a table that nft printed says the same.

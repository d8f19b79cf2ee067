//! Nextcloud, as roomd sees it. The only folder that names ureq.

pub mod directory;

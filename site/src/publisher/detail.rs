//! How much the site shows: a mark in it says by which detail all of its files were written.
//!
//! The mark is durable before the first page of another detail is written. So a site that is marked as redacted has no page
//! of full detail, and a switch that was interrupted is finished by whoever next writes the index.

use domain::ids::ContentHash;
use domain::ports::{PublishError, SiteFile};

use super::SitePublisher;
use super::writer::page_error;

/// The mark.
const DETAIL: &str = "detail.txt";

impl SitePublisher {
    /// Makes sure that pages of this detail may be written. Of a site that was written by another one, or was redacted with
    /// another key, every file is removed first; it is then not whole, and all of it is written again.
    ///
    /// # Errors
    /// [`PublishError::Withheld`], also where nothing says that a redacted site may become full, or the site cannot be read
    /// or changed.
    pub(super) async fn begin_detail(&self) -> Result<(), PublishError> {
        if let Some(why) = &self.options.withheld {
            return Err(PublishError::Withheld(why.clone()));
        }
        let wanted = self.detail();
        let found = self.site.read(DETAIL).await.map_err(|error| page_error(DETAIL, error))?;
        if found.as_deref() == Some(wanted.as_bytes()) {
            return Ok(());
        }
        let is_marked_redacted = found.as_deref().is_some_and(|mark| mark.starts_with(b"redacted"));
        if is_marked_redacted && !self.options.redacted && !self.options.replaces_redacted {
            let why = "this site is redacted, and nothing says that it may show more: set NIGHTBOOK_SITE_DETAIL to what the \
                       deployment has, `redacted` or `full`";
            return Err(PublishError::Withheld(why.to_owned()));
        }
        // A site of full detail from before there was a mark has its pages where this one has them.
        if self.options.redacted || found.is_some() {
            self.clear().await?;
        }
        self.write_detail(wanted).await
    }

    /// Ends a publication: everything is durable, and every page is still allowed.
    ///
    /// # Errors
    /// [`PublishError::DetailChanged`] where another publication changed the detail meanwhile: pages of both may be there.
    pub(super) async fn end_detail(&self) -> Result<(), PublishError> {
        self.site.flush().await.map_err(|error| page_error(DETAIL, error))?;
        let found = self.site.read(DETAIL).await.map_err(|error| page_error(DETAIL, error))?;
        if found.as_deref() == Some(self.detail().as_bytes()) {
            return Ok(());
        }
        // The next redacted publication then removes what this one wrote.
        self.write_detail("unknown\n".to_owned()).await?;
        Err(PublishError::DetailChanged)
    }

    async fn write_detail(&self, text: String) -> Result<(), PublishError> {
        let mark = SiteFile { path: DETAIL.to_owned(), content_type: "text/plain; charset=utf-8", body: text.into() };
        self.write_always(&mark).await?;
        self.site.flush().await.map_err(|error| page_error(DETAIL, error))
    }

    /// What the mark says of pages by the settings of this publisher. Another key gives other ids, so it is part of it.
    fn detail(&self) -> String {
        if !self.options.redacted {
            return "full\n".to_owned();
        }
        let key = ContentHash::of(format!("redaction key {}", self.options.redaction_key).as_bytes());
        format!("redacted {}\n", key.short())
    }

    /// Removes every file, the index first: it leads to the others.
    async fn clear(&self) -> Result<(), PublishError> {
        let mut files = self.site.list().await.map_err(|error| page_error(DETAIL, error))?;
        files.sort_by_key(|path| path != "index.html");
        let removed = files.len();
        for path in files {
            self.site.remove(&path).await.map_err(|error| page_error(&path, error))?;
        }
        self.site.flush().await.map_err(|error| page_error(DETAIL, error))?;
        if removed > 0 {
            tracing::info!(
                files = removed,
                "the site has another detail from now on: its files from before were removed"
            );
        }
        Ok(())
    }
}

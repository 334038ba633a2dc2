//! Regions and spaces: slices, attachments, page tables. Tables are modelled by which of them exist, so that `NoMemory` says the
//! right number; translations page by page.

use crate::abi::{
    EXECUTE, Error, FUND_PAGES, GRANT, Kind, MANAGE, MAX_SLICE_DEPTH, PAGE_BYTES, READ, SCRUB_PAGES, USER_PAGES, WRITE,
    holds,
};
use crate::entry::{Outcome, Reply};
use crate::state::{Attachment, Body, Check, Frame, Region, State, at, ensure};

/// What one step of mapping does.
struct Plan {
    level: u64,
    walked: u64,
    entries: u64,
}

impl State {
    fn bits(&self) -> u64 {
        self.config.table_bits
    }

    /// Pages that an entry of a level covers.
    fn pages_at(&self, level: u64) -> u64 {
        1 << (self.bits() * level)
    }

    fn has_table(&self, space: u64, level: u64, page: u64) -> bool {
        self.space(space)
            .tables
            .contains(&(level, page >> (self.bits() * (level + 1))))
    }

    /// The level of the lowest table, down to a target, that there is for a page.
    fn walk(&self, space: u64, page: u64, target: u64) -> u64 {
        let mut level = self.config.table_levels - 1;
        while target < level && self.has_table(space, level - 1, page) {
            level -= 1;
        }
        level
    }

    fn is_present(&self, space: u64, level: u64, index: u64) -> bool {
        let of = self.space(space);
        if level == 0 {
            of.map.contains_key(&index)
        } else {
            of.large.contains(&index) || self.has_table(space, 0, index << self.bits())
        }
    }

    /// Entries of one table that can be filled.
    fn free_entries(&self, space: u64, walked: u64, level: u64, page: u64, left: u64) -> Check<u64> {
        let first = page >> (self.bits() * level);
        let entries = self.pages_at(1);
        let fitting = (left / self.pages_at(level)).min(entries - first % entries);
        if level < walked {
            return Ok(fitting);
        }
        let free = (first..first + fitting)
            .take_while(|index| !self.is_present(space, level, *index))
            .count() as u64;
        ensure(free == fitting || (level > 0 && free > 0), Error::Occupied, 2)?;
        Ok(free)
    }

    fn plan(&self, space: u64, page: u64, frame: u64, left: u64) -> Check<Plan> {
        let large = self.pages_at(1);
        let is_large =
            self.config.table_levels > 2 && page.is_multiple_of(large) && frame.is_multiple_of(large) && large <= left;
        let mut level = u64::from(is_large);
        let mut walked = self.walk(space, page, level);
        let is_covered = self.space(space).large.contains(&(page >> self.bits()));
        ensure(!(level < walked && walked == 1 && is_covered), Error::Occupied, 2)?;
        if walked == 1 && level == 1 && self.has_table(space, 0, page) {
            level = 0;
            walked = self.walk(space, page, 0);
        }
        let missing = (walked - level).saturating_sub(self.space(space).unused.len() as u64);
        ensure(missing == 0, Error::NoMemory, missing)?;
        let entries = self.free_entries(space, walked, level, page, left)?;
        Ok(Plan { level, walked, entries })
    }

    /// Maps so many more pages of an attachment, if nothing is mapped there.
    fn map_more(&mut self, region: u64, count: u64) {
        let of = self.region_mut(region);
        let (first, Some(attachment)) = (of.first, &mut of.attachment) else {
            return;
        };
        let old = *attachment;
        attachment.mapped += count;
        let pages = old.mapped..old.mapped + count;
        let map = &self.space(old.space).map;
        if pages.clone().any(|index| map.contains_key(&(old.page + index))) {
            self.region_mut(region).attachment = Some(old);
            return;
        }
        let map = &mut self.space_mut(old.space).map;
        map.extend(pages.map(|index| (old.page + index, (first + index, old.rights))));
    }

    fn begin_attachment(&mut self, region: u64, space: u64, page: u64, rights: u64) {
        self.stamps += 1;
        let attachment = Attachment {
            space,
            page,
            rights,
            mapped: 0,
            flush: 0,
            stamp: self.stamps,
        };
        self.region_mut(region).attachment = Some(attachment);
    }

    fn attach_dma(&mut self, region: u64, space: u64, rights: u64) -> Outcome {
        let (first, pages) = (self.region(region).first, self.region(region).pages);
        ensure(self.region(region).attachment.is_none(), Error::Occupied, 0)?;
        self.begin_attachment(region, space, first, rights);
        self.map_more(region, pages);
        Ok(Reply::Done(first.wrapping_mul(PAGE_BYTES)))
    }

    fn attach_host(&mut self, region: u64, space: u64, page: u64, rights: u64) -> Outcome {
        let of = self.region(region).clone();
        let space_pages = USER_PAGES.min(self.pages_at(self.config.table_levels) / 2);
        ensure(page.saturating_add(of.pages) <= space_pages, Error::BadArg, 2)?;
        let goes_on = |a: Attachment| {
            a.space == space && a.page == page && a.rights == rights && a.flush == 0 && a.mapped < of.pages
        };
        ensure(of.attachment.is_none_or(goes_on), Error::Occupied, 0)?;
        let done = of.attachment.map_or(0, |attachment| attachment.mapped);
        let plan = self.plan(space, page + done, of.first + done, of.pages - done)?;
        if of.attachment.is_none() {
            self.begin_attachment(region, space, page, rights);
        }
        let (bits, at) = (self.bits(), page + done);
        let tables = self.space_mut(space);
        for level in (plan.level..plan.walked).rev() {
            let table = tables.unused.pop().expect("the plan counted them");
            tables.used.push(table);
            tables.tables.insert((level, at >> (bits * (level + 1))));
        }
        if plan.level > 0 {
            tables.large.extend((0..plan.entries).map(|index| (at >> bits) + index));
        }
        self.map_more(region, plan.entries * self.pages_at(plan.level));
        let mapped = self.region(region).attachment.map_or(0, |attachment| attachment.mapped);
        Ok(Reply::progress(of.pages - mapped))
    }

    fn attach(&mut self, actor: u64, region: u64, held: u64, words: &[u64; 6]) -> Outcome {
        let space = at(1, self.lookup(actor, words[1], Kind::Space, MANAGE))?;
        let rights = words[3] & 0xFF;
        ensure([READ, READ | WRITE, READ | EXECUTE].contains(&rights), Error::BadArg, 3)?;
        let of = self.region(region);
        ensure(holds(held, rights) && holds(of.max, rights), Error::NoRight, 3)?;
        ensure(of.pages <= of.scrubbed, Error::BadState, 0)?;
        if self.space(space).is_dma {
            self.attach_dma(region, space, rights)
        } else {
            self.attach_host(region, space, words[2], rights)
        }
    }

    /// Every core that has the space's root table is to flush.
    fn request_flush(&mut self, space: u64) {
        self.flushes += 1;
        if self.space(space).root.is_none() {
            return;
        }
        for core in self.cores.iter_mut().filter(|core| core.loaded == Some(space)) {
            core.wanted = self.flushes;
        }
    }

    /// Large pages that can be taken out of one table, from the last backwards.
    fn larges_down(&self, space: u64, last: u64, first: u64) -> u64 {
        let mut count = 0;
        while count < self.pages_at(1) && last >= count && self.space(space).large.contains(&(last - count)) {
            let index = last - count;
            count += 1;
            if index.is_multiple_of(self.pages_at(1)) || index == first {
                break;
            }
        }
        count
    }

    /// Unmaps from the last page backwards as much as lies in one table.
    fn unmap_step(&mut self, region: u64, attachment: Attachment) {
        let space = attachment.space;
        let last = attachment.page + attachment.mapped - 1;
        let count = if self.space(space).is_dma {
            attachment.mapped
        } else if self.walk(space, last, 0) == 0 {
            (last % self.pages_at(1) + 1).min(attachment.mapped)
        } else {
            let index = last >> self.bits();
            let count = self.larges_down(space, index, attachment.page >> self.bits());
            let large = &mut self.space_mut(space).large;
            large.retain(|page| !(index + 1 - count..=index).contains(page));
            count * self.pages_at(1)
        };
        let left = attachment.mapped - count;
        let map = &mut self.space_mut(space).map;
        (left..attachment.mapped).for_each(|page| {
            map.remove(&(attachment.page + page));
        });
        let flush = self.flushes + 1;
        self.region_mut(region).attachment = Some(Attachment {
            mapped: left,
            flush,
            ..attachment
        });
    }

    /// One step of taking an attachment back: at most one table's worth of pages, then the flush.
    pub(crate) fn detach_step(&mut self, region: u64) {
        let Some(attachment) = self.region(region).attachment else {
            return;
        };
        if attachment.mapped > 0 {
            self.unmap_step(region, attachment);
            self.request_flush(attachment.space);
        } else if self
            .cores
            .iter()
            .all(|core| core.wanted.min(attachment.flush) <= core.flushed)
        {
            self.region_mut(region).attachment = None;
        }
    }

    fn detach(&mut self, region: u64) -> Outcome {
        self.detach_step(region);
        let attachment = self.region(region).attachment;
        Ok(attachment.map_or(Reply::Done(0), |attachment| Reply::Progress(attachment.mapped)))
    }

    fn scrub(&mut self, region: u64) -> Outcome {
        let of = self.region_mut(region);
        of.scrubbed = of.pages.min(of.scrubbed + SCRUB_PAGES);
        Ok(Reply::progress(of.pages - of.scrubbed))
    }

    /// A Memory that can be used, an empty slot, and room for a small object.
    pub(crate) fn place(&self, actor: u64, memory: (u64, u64), slot: (u64, u64)) -> Check<u64> {
        let memory = at(memory.0, self.lookup(actor, memory.1, Kind::Memory, MANAGE))?;
        self.usable(memory)?;
        at(slot.0, self.empty_slot(actor, slot.1))?;
        self.afford(memory, 0, true)?;
        Ok(memory)
    }

    fn slice(&mut self, actor: u64, parent: u64, held: u64, words: &[u64; 6]) -> Outcome {
        let of = self.region(parent).clone();
        let (first, pages) = (words[1], words[2]);
        ensure(first < of.pages, Error::BadArg, 1)?;
        ensure(pages != 0 && pages <= of.pages - first, Error::BadArg, 2)?;
        ensure(of.depth < MAX_SLICE_DEPTH, Error::TooDeep, 0)?;
        ensure(of.pages <= of.scrubbed, Error::BadState, 0)?;
        let memory = self.place(actor, (4, words[4]), (5, words[5]))?;
        let rights = (words[3] & 0xFF & of.max & held) | ((MANAGE | GRANT) & held);
        let region = Region {
            first: of.first + first,
            pages,
            max: rights,
            depth: of.depth + 1,
            parent: Some(parent),
            scrubbed: pages,
            attachment: None,
            ..of
        };
        let address = self.take_small(memory);
        self.add(
            address,
            Body::Region(region),
            self.thread(actor).domain,
            words[5],
            rights,
        );
        Ok(Reply::Done(0))
    }

    pub(crate) fn region_operation(&mut self, actor: u64, region: u64, held: u64, words: &[u64; 6]) -> Outcome {
        match words[0] {
            2 => return self.attach(actor, region, held, words),
            5 => {
                ensure(holds(held, READ), Error::NoRight, 0)?;
                let of = self.region(region);
                let (mapped, page) = of
                    .attachment
                    .map_or((0, 0), |attachment| (attachment.mapped, attachment.page));
                return Ok(Reply::Words(of.pages, [0, mapped, page, 0, 0, 0]));
            }
            6 | 7 => return Err((Error::Unsupported, 0)),
            _ => ensure(holds(held, MANAGE), Error::NoRight, 0)?,
        }
        match words[0] {
            1 => self.slice(actor, region, held, words),
            3 => self.detach(region),
            4 => self.scrub(region),
            _ => Err((Error::BadArg, 0)),
        }
    }

    fn fund(&mut self, actor: u64, space: u64, words: &[u64; 6]) -> Outcome {
        let memory = at(1, self.lookup(actor, words[1], Kind::Memory, MANAGE))?;
        self.usable(memory)?;
        ensure((1..=FUND_PAGES).contains(&words[2]), Error::BadArg, 2)?;
        ensure(self.space(space).memory == memory, Error::BadState, 1)?;
        self.afford(memory, words[2], false)?;
        for _ in 0..words[2] {
            let page = self.take_page(memory, Frame::PageTable(space));
            self.space_mut(space).unused.push(page);
        }
        Ok(Reply::Done(self.space(space).unused.len() as u64))
    }

    pub(crate) fn space_operation(&mut self, actor: u64, space: u64, held: u64, words: &[u64; 6]) -> Outcome {
        match words[0] {
            1 => {
                ensure(holds(held, MANAGE), Error::NoRight, 0)?;
                self.fund(actor, space, words)
            }
            4 => {
                ensure(holds(held, READ), Error::NoRight, 0)?;
                Ok(Reply::Done(self.space(space).unused.len() as u64))
            }
            2 | 3 => Err((Error::Unsupported, 0)),
            _ => Err((Error::BadArg, 0)),
        }
    }
}

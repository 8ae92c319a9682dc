-- The visitor's address, of sites that ask for it (settings.ipHandling): whole or cut; '' of all others.

ALTER TABLE events ADD COLUMN ip_address text NOT NULL DEFAULT '';
ALTER TABLE bot_events ADD COLUMN ip_address text NOT NULL DEFAULT '';

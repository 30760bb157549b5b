"""A server's data moved elsewhere: the tables to the other kind of database, the stored files to another storage."""

/*
 * Tree: files and directories by inode number, at head and in the past.
 *
 * Every call that changes the tree is one atomic batch with one LSN. Every
 * call that reads takes an LSN: LSN_HEAD for the newest state, else any LSN in
 * the window; what it returns is the state at exactly that LSN.
 *
 * Inode numbers are never reused. A file whose last name is gone stays
 * readable and writable by number until tree_forget, or until the store is closed.
 *
 * Names are bytes without '/' and NUL, 1 to 255 of them; -ENAMETOOLONG and
 * -EINVAL otherwise. No call checks permissions: the kernel does
 * (default_permissions). Any thread. Errors common to all: -EIO, -EBADMSG (a
 * checksum is wrong), -EUCLEAN (impossible structure), -ENOMEM; to changes
 * besides: -ENOSPC, -EROFS. The LSN of a change is not returned: store_window's
 * newest is at or above it once the call returned.
 */
#ifndef VARVE_STORE_TREE_H
#define VARVE_STORE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lsn.h"

struct store;

#define TREE_ROOT_INO UINT64_C(16)      /* the directory shown as rel */
#define TREE_NAME_MAX 255u
#define TREE_WRITE_MAX (1u << 20)       /* bytes one tree_write may take */
#define TREE_LINK_MAX 65000u
#define TREE_SIZE_MAX ((uint64_t)INT64_MAX)
#define TREE_XATTR_NAME_MAX 255u
#define TREE_XATTR_VALUE_MAX (64u << 10)        /* bytes */
#define TREE_XATTR_LIST_MAX (64u << 10)         /* bytes of all names of an inode, each with a NUL */
#define TREE_XATTR_CAPABILITY "security.capability"

struct tree_time {
	int64_t seconds;                /* since the epoch */
	uint32_t nanoseconds;
};

/* The pages of a symlink, and of a file that a varve which did not count them wrote, are not counted. */
#define TREE_PAGES_UNKNOWN UINT64_MAX

struct tree_attr {
	uint64_t ino;
	uint64_t size_bytes;            /* of a directory: how many names it holds */
	struct tree_time mtime, ctime, atime, btime;
	uint32_t mode;                  /* S_IFMT and permission bits */
	uint32_t uid, gid;
	uint32_t nlink;                 /* directories: 1; 0 once the last name is gone */
	uint32_t rdev;                  /* device nodes: major and minor as the kernel encodes them */
	uint64_t parent_ino;            /* directories: where ".." leads */
	uint64_t page_count;            /* files: the pages that there are, holes left out */
	struct lsn changed;             /* the LSN that last changed this inode, <= the LSN asked for */
	uint64_t position;              /* byte in the history of that change's record: no two
					 * versions of any inodes share one; below LSN_LIMIT */
};

/* -ENOENT: no such inode at that LSN. At LSN_HEAD an inode whose last name is gone
 * is still found, with nlink 0; in the past it is not. */
int tree_getattr(struct store *store, uint64_t ino, struct lsn at, struct tree_attr *attr_out);

/* Find @name in directory @dir. "." and ".." are found too ("..": of the root
 * is the root). -ENOENT, -ENOTDIR. */
int tree_lookup(struct store *store, uint64_t dir, const char *name, struct lsn at,
		struct tree_attr *attr_out);

struct tree_entry {
	const char *name;               /* NUL-terminated; valid during the call */
	uint64_t ino;
	uint32_t type;                  /* S_IFMT bits */
	uint64_t cookie;                /* pass to tree_readdir to go on after this entry */
};

/* Return true to go on, false to stop (the entry is then not consumed). */
typedef bool tree_entry_fn(void *context, const struct tree_entry *entry);

/*
 * List @dir from @cookie (0: the start; "." and ".." come first). Cookies are
 * stable: names that stay are listed once, however others come and go between
 * calls. Cookies fit a signed 64-bit offset.
 */
int tree_readdir(struct store *store, uint64_t dir, struct lsn at, uint64_t cookie,
		 tree_entry_fn *fn, void *context);

/* Target of a symlink, NUL-terminated in @target_out (PATH_MAX bytes). -EINVAL: no symlink. */
int tree_readlink(struct store *store, uint64_t ino, struct lsn at, char *target_out,
		  size_t size_bytes);

/* Read up to @size_bytes at @offset_bytes; *count_out is short only at the end
 * of the file. All bytes are of one state. -EISDIR. */
int tree_read(struct store *store, uint64_t ino, struct lsn at, uint64_t offset_bytes,
	      void *buffer, size_t size_bytes, size_t *count_out);

/*
 * tree_read without a copy: @fn is called once with what was read, piece by
 * piece, where it lies. The pieces are valid during the call, and are for a
 * system call or for fault_guarded (base/fault.h): a file of the store that is cut
 * short meanwhile would be SIGBUS. @scratch has room for tree_scratch_size bytes; pages
 * that lie nowhere whole are put together there. Returns @fn's result if it was called;
 * errors, before it is, as tree_read.
 */
struct iovec;
typedef int tree_pieces_fn(void *context, const struct iovec *pieces, size_t count);
size_t tree_scratch_size(const struct store *store, size_t size_bytes);
int tree_read_pieces(struct store *store, uint64_t ino, struct lsn at, uint64_t offset_bytes,
		     size_t size_bytes, void *scratch, tree_pieces_fn *fn, void *context);

/* Owner and mode of something new. @mode holds the S_IFMT bits. */
struct tree_new {
	uint32_t mode, uid, gid, rdev;
	uint32_t umask;                 /* permissions it is not to have, unless its directory has a default ACL */
};

/* Make a regular file, directory, FIFO, socket or device node. In a directory with
 * the set-group-id bit the new inode takes the directory's group, and a new
 * directory the bit as well. A default ACL of the directory is inherited, in place of the umask.
 * -EEXIST, -ENOENT (@dir is gone), -ENOTDIR. */
int tree_create(struct store *store, uint64_t dir, const char *name, const struct tree_new *what,
		struct tree_attr *attr_out);
int tree_symlink(struct store *store, uint64_t dir, const char *name, const char *target,
		 const struct tree_new *what, struct tree_attr *attr_out);
/* Make a regular file that has no name, as O_TMPFILE does. tree_link may give it one: until then it
 * is one whose last name is gone, to be had by its number alone. Errors as tree_create. */
int tree_create_unnamed(struct store *store, uint64_t dir, const struct tree_new *what,
			struct tree_attr *attr_out);
/* -EPERM: a directory; -EMLINK; -ENOENT: the inode has no name left. */
int tree_link(struct store *store, uint64_t ino, uint64_t dir, const char *name,
	      struct tree_attr *attr_out);
int tree_unlink(struct store *store, uint64_t dir, const char *name);   /* -EISDIR */
int tree_rmdir(struct store *store, uint64_t dir, const char *name);    /* -ENOTDIR, -ENOTEMPTY */

#define TREE_RENAME_NOREPLACE 1u
#define TREE_RENAME_EXCHANGE 2u
/* As rename(2), with its errors: -EINVAL (into itself), -ENOTEMPTY, -EISDIR, -ENOTDIR, -EEXIST. */
int tree_rename(struct store *store, uint64_t dir, const char *name, uint64_t new_dir,
		const char *new_name, unsigned flags);

/* Write @size_bytes <= TREE_WRITE_MAX at @offset_bytes: all or nothing. With
 * @drop_set_id the set-user-id bit and, where group-executable, the
 * set-group-id bit are cleared. TREE_XATTR_CAPABILITY goes in any case. -EFBIG, -EISDIR. */
int tree_write(struct store *store, uint64_t ino, uint64_t offset_bytes, const void *buffer,
	       size_t size_bytes, bool drop_set_id);
/* The same of what was stored through a mapping: nobody's privileges are known, so all stays. */
int tree_write_mapped(struct store *store, uint64_t ino, uint64_t offset_bytes, const void *buffer,
		      size_t size_bytes);

/* ---- the space of a file. Of regular files alone: -EISDIR, else -EINVAL. Privileges go as with tree_write ---- */

/*
 * The file may be written up to @offset_bytes + @size_bytes: it grows to there, unless
 * @keep_size. Nothing is set aside: what is written takes room when it is. -EFBIG.
 */
int tree_reserve(struct store *store, uint64_t ino, uint64_t offset_bytes, uint64_t size_bytes,
		 bool keep_size, bool drop_set_id);

/*
 * The bytes [@offset_bytes, @offset_bytes + @size_bytes) become a hole, which reads as zeros; the file
 * grows to there, unless @keep_size. One change of some 100 bytes however long it is, apart
 * from the pages it begins and ends in. -EFBIG.
 */
int tree_punch(struct store *store, uint64_t ino, uint64_t offset_bytes, uint64_t size_bytes,
	       bool keep_size, bool drop_set_id);

/*
 * From @offset_bytes on, the first byte in a page that there is (@hole false), or in none
 * (true; the end of the file is one). A few look-ups, whatever lies between. A file that
 * is not mapped is one piece of data. -ENXIO: there is none, or the file ends before.
 */
int tree_seek(struct store *store, uint64_t ino, struct lsn at, uint64_t offset_bytes, bool hole,
	      uint64_t *offset_out);

/*
 * Copy up to @size_bytes from one file as it is at @from_at to another at the head. One change: as
 * much as one write takes, or a whole hole of any length, which becomes one there. *count_out is what
 * was copied, 0 at the end of the source. -EINVAL: the ranges overlap; -EFBIG.
 */
int tree_copy(struct store *store, uint64_t from_ino, struct lsn from_at, uint64_t from_bytes,
	      uint64_t ino, uint64_t offset_bytes, uint64_t size_bytes, bool drop_set_id,
	      uint64_t *count_out);

#define TREE_SET_MODE   0x01u   /* permission bits only */
#define TREE_SET_UID    0x02u
#define TREE_SET_GID    0x04u
#define TREE_SET_SIZE   0x08u
#define TREE_SET_ATIME  0x10u
#define TREE_SET_MTIME  0x20u
#define TREE_SET_ATIME_NOW 0x40u
#define TREE_SET_MTIME_NOW 0x80u
#define TREE_DROP_SET_ID 0x100u /* as tree_write's, for truncate and chown */

/* Change the attributes named in @which to those in @to; O(1) in the file's
 * size, also for a truncate. An access ACL follows the mode; TREE_XATTR_CAPABILITY of a file goes with
 * its size and its owner. -EISDIR (size of a directory), -EFBIG. */
int tree_setattr(struct store *store, uint64_t ino, unsigned which, const struct tree_attr *to,
		 struct tree_attr *attr_out);

/* ---- extended attributes ---- */

/*
 * Names are 1 to 255 bytes without NUL; those of the two POSIX ACLs (acl.h) mean what they mean, any
 * others are only kept. Common errors besides: -ENODATA: no such attribute.
 */

/* With @size_bytes 0 only *size_out is set. -ERANGE: it is longer than @size_bytes. */
int tree_getxattr(struct store *store, uint64_t ino, struct lsn at, const char *name, void *value_out,
		  size_t size_bytes, size_t *size_out);
/* The names, each with a NUL, in the order they were first set. As above. */
int tree_listxattr(struct store *store, uint64_t ino, struct lsn at, char *names_out,
		   size_t size_bytes, size_t *size_out);

#define TREE_XATTR_CREATE 1u            /* -EEXIST if it is there */
#define TREE_XATTR_REPLACE 2u           /* -ENODATA if it is not */
#define TREE_XATTR_DROP_SGID 4u         /* an access ACL clears the set-group-id bit */
/* Setting what it has is no change, and takes no LSN. */
/* -ERANGE: the name's length; -E2BIG: the value is longer than TREE_XATTR_VALUE_MAX; -ENOSPC also: the
 * names are together longer than TREE_XATTR_LIST_MAX; of an ACL: -EINVAL; -EACCES: a default one of a
 * file; -EOPNOTSUPP: a symlink's. */
int tree_setxattr(struct store *store, uint64_t ino, const char *name, const void *value,
		  size_t size_bytes, unsigned flags);
/* An ACL that is not there is no error. */
int tree_removexattr(struct store *store, uint64_t ino, const char *name);

/* Nobody has inode @ino open any more: once its last name is gone, so may be what it held. */
void tree_forget(struct store *store, uint64_t ino);

/* One change of one inode, as `varve log` shows it. */
struct tree_change {
	struct lsn lsn;
	struct tree_time time;
	uint64_t size_bytes;            /* after the change */
	uint64_t size_before_bytes;
	uint32_t mode, mode_before, nlink, nlink_before, uid, uid_before, gid, gid_before;
	bool created;                   /* the first version there is */
	bool deleted;                   /* the last name went */
	bool times_set;                 /* utimens changed a time */
	bool xattrs_set;                /* an extended attribute was set or removed */
	uint64_t pages_written;         /* page versions written by this change */
	uint64_t data_bytes;            /* bytes those versions store */
	uint64_t pages_dropped;         /* pages that it cut off or punched; 0 where they were not counted */
	uint64_t page_first, page_last; /* lowest and highest block number written; if pages_written */
};

typedef bool tree_change_fn(void *context, const struct tree_change *change);

/* Every version of @ino in the window, oldest first. -ENOENT: never existed. */
int tree_history(struct store *store, uint64_t ino, tree_change_fn *fn, void *context);

#endif

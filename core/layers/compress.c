#include "compress.h"

#include <errno.h>
#include <lz4.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define ZSTD_LEVEL 1            /* level 3 saves 2 to 3 % more and takes 1.3 to 1.6 times as long (varve-bench table) */
#define SAVING_MIN 16u          /* less than a sixteenth is not worth the decompressing */

struct compressor {
	enum compression compression;
	void *lz4;
	ZSTD_CCtx *zstd;
};

enum compression compression_resolve(enum compression compression)
{
	return compression == COMPRESSION_DEFAULT ? COMPRESSION_LZ4 : compression;
}

int compressor_new(enum compression compression, struct compressor **compressor_out)
{
	struct compressor *compressor;

	*compressor_out = NULL;
	compression = compression_resolve(compression);
	if (compression != COMPRESSION_NONE && compression != COMPRESSION_LZ4 &&
	    compression != COMPRESSION_ZSTD)
		return -EINVAL;
	compressor = calloc(1, sizeof(*compressor));
	if (!compressor)
		return -ENOMEM;
	compressor->compression = compression;
	if (compression == COMPRESSION_LZ4)
		compressor->lz4 = malloc((size_t)LZ4_sizeofState());
	if (compression == COMPRESSION_ZSTD)
		compressor->zstd = ZSTD_createCCtx();
	if (compression != COMPRESSION_NONE && !compressor->lz4 && !compressor->zstd) {
		compressor_free(compressor);
		return -ENOMEM;
	}
	*compressor_out = compressor;
	return 0;
}

void compressor_free(struct compressor *compressor)
{
	if (!compressor)
		return;
	free(compressor->lz4);
	ZSTD_freeCCtx(compressor->zstd);
	free(compressor);
}

enum compression compressor_run(struct compressor *compressor, const void *bytes,
				size_t size_bytes, void *stored, size_t *stored_bytes_out)
{
	size_t room = size_bytes - size_bytes / SAVING_MIN, count = 0;

	*stored_bytes_out = size_bytes;
	if (compressor->lz4) {
		int written = LZ4_compress_fast_extState(compressor->lz4, bytes, stored,
							 (int)size_bytes, (int)room, 1);

		count = written > 0 ? (size_t)written : 0;
	} else if (compressor->zstd) {
		count = ZSTD_compressCCtx(compressor->zstd, stored, room, bytes, size_bytes,
					  ZSTD_LEVEL);
		if (ZSTD_isError(count))
			count = 0;
	}
	if (!count)
		return COMPRESSION_NONE;
	*stored_bytes_out = count;
	return compressor->compression;
}

/* Zstandard's context of this thread: making one for each block would cost more than the block. */
static pthread_key_t context_key;
static pthread_once_t context_once = PTHREAD_ONCE_INIT;
static int context_key_err;

static void context_free(void *context)
{
	ZSTD_freeDCtx(context);
}

static void context_key_make(void)
{
	context_key_err = pthread_key_create(&context_key, context_free);
}

/* NULL: no memory. */
static ZSTD_DCtx *thread_context(void)
{
	ZSTD_DCtx *context;

	pthread_once(&context_once, context_key_make);
	if (context_key_err)
		return NULL;
	context = pthread_getspecific(context_key);
	if (context)
		return context;
	context = ZSTD_createDCtx();
	if (context && pthread_setspecific(context_key, context)) {
		ZSTD_freeDCtx(context);
		context = NULL;
	}
	return context;
}

static int decompress_zstd(const void *stored, size_t stored_bytes, void *bytes, size_t size_bytes)
{
	ZSTD_DCtx *context = thread_context();

	if (!context)
		return -ENOMEM;
	return ZSTD_decompressDCtx(context, bytes, size_bytes, stored, stored_bytes) == size_bytes
		       ? 0 : -EUCLEAN;
}

int decompress(enum compression compression, const void *stored, size_t stored_bytes, void *bytes,
	       size_t size_bytes)
{
	if (stored_bytes > LZ4_MAX_INPUT_SIZE || size_bytes > LZ4_MAX_INPUT_SIZE)
		return -EUCLEAN;
	switch (compression) {
	case COMPRESSION_NONE:
		if (stored_bytes != size_bytes)
			return -EUCLEAN;
		memcpy(bytes, stored, size_bytes);
		return 0;
	case COMPRESSION_LZ4:
		return LZ4_decompress_safe(stored, bytes, (int)stored_bytes, (int)size_bytes) ==
				       (int)size_bytes ? 0 : -EUCLEAN;
	case COMPRESSION_ZSTD:
		return decompress_zstd(stored, stored_bytes, bytes, size_bytes);
	default:
		return -EUCLEAN;
	}
}

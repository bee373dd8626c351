// Messages between the ranks of a run. The only code that sees mpi.h; this header does not, because
// MPI's macros do not import into Swift. Functions return 0 or an error code for cmp_error_text.
// One thread at a time may call any of them.
#ifndef CMESSAGEPASSING_H
#define CMESSAGEPASSING_H

#include <stddef.h>
#include <stdint.h>

enum {
  /// cmp_batch_wait: no message was completed for that time, and some are still under way.
  CMP_TIMEOUT = -1,
  /// MPI has been finalised and cannot start again in this process.
  CMP_FINALISED = -2,
  /// No memory for the list of messages.
  CMP_NO_MEMORY = -3,
  /// The library offers less than MPI_THREAD_SERIALIZED.
  CMP_NO_THREADS = -4,
};

/// Starts MPI (also without mpirun: one rank), with errors returned instead of ending the program.
/// From then on the process is killed when mpirun dies.
/// Does nothing when it is running already.
int cmp_init(void);
/// 1 between cmp_init and cmp_finalize.
int cmp_initialised(void);
/// Ends MPI. Waits for the other ranks, so never call it on an error path.
int cmp_finalize(void);
/// Ends all ranks at once with `code`, forced into 1...125. Does not return.
void cmp_abort(int code) __attribute__((noreturn));

int cmp_rank(void);
int cmp_size(void);
/// Name of this host, cut to size - 1 bytes.
void cmp_host_name(char *text, size_t size);
/// What an error code means, cut to size - 1 bytes.
void cmp_error_text(int code, char *text, size_t size);

/// Messages started together and awaited together. Buffers stay untouched until the wait is over.
typedef struct cmp_batch cmp_batch;

cmp_batch *cmp_batch_create(void);
void cmp_batch_destroy(cmp_batch *batch);
/// Starts a message of any size to or from `peer`; equal tags between two ranks arrive in order.
int cmp_batch_send(cmp_batch *batch, const void *data, size_t bytes, int peer, int tag);
int cmp_batch_receive(cmp_batch *batch, void *data, size_t bytes, int peer, int tag);
/// Polls until all messages are complete: yields for about the time the bytes need, then sleeps
/// 100 us between polls, so that more ranks than cores work. Gives up when none is completed for
/// `seconds`; after CMP_TIMEOUT it may be called again, and sleeps from the start.
int cmp_batch_wait(cmp_batch *batch, double seconds);
/// 1 when a message to or from `peer` is not complete.
int cmp_batch_is_missing(const cmp_batch *batch, int peer);
/// During a wait, over all calls: seconds since a message was completed or the wait began.
double cmp_batch_idle(const cmp_batch *batch);
/// Of the last wait, over all calls: the most seconds without a completed message.
double cmp_batch_longest(const cmp_batch *batch);

/// A short message that nobody waits for, with a tag that only notes have.
enum { CMP_NOTE_WORDS = 2 };
/// Starts a note and returns. One that is never received is lost when MPI ends.
int cmp_note_send(const int32_t *words, int peer, int tag);
/// Takes a note that has arrived from any rank: `peer` is its sender, or -1 if there is none.
int cmp_note_receive(int32_t *words, int *peer, int tag);

/// x[i] = sum over ranks in whatever order MPI likes.
int cmp_allreduce_sum(float *x, size_t n);

#endif

/* The client engine against a peer that does what the input says. The oracle is that of tests/unit/smtp/client_model.h.
 */
#include "../../unit/smtp/client_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct model_source source = {.data = data, .n = size};

	model_run(&source);
	return 0;
}

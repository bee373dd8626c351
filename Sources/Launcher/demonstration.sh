# ./launch without arguments.

# A small ViT on the built-in images, about a minute on two cores.
demonstration=(--dataset shapes --resize 32 --patch_size 4 --num_layers 4 --num_heads 3
  --d_hidden 96 --d_mlp 192 --dropout 0 --attention_dropout 0 --batch_size 64 --shards 16
  --num_epochs 5 --lr 2e-3 --warmup_epochs 1 --scheduler cosine)

demonstrate() {
  local number=1 folder newest=''
  while folder=$repository/Output/demo-$(printf %03d "$number"); [[ -e $folder ]]; do
    newest=$folder number=$((number + 1))
  done
  # The same command goes on from its checkpoint, unless another version of this program has made it.
  if [[ $newest && -e $newest/.demonstration && $(<"$newest/.demonstration") == "${demonstration[*]}" ]] &&
    grep -qsE '"exit_code":1[56]\>' "$newest/status.json"; then
    folder=$newest
  fi
  command=train
  flags=("${demonstration[@]}" --output_dir "$folder" ${flags[@]+"${flags[@]}"})
  demonstration_folder=$folder
  run
}

# Notes which flags its folder is of. Where that is impossible the program says why.
mark_demonstration() {
  [[ -n ${demonstration_folder-} ]] || return 0
  { mkdir -p "$demonstration_folder" && echo "${demonstration[*]}" >"$demonstration_folder/.demonstration"; } \
    2>/dev/null || true
}

# A demonstration that has not begun leaves no folder.
drop_demonstration() {
  [[ -n ${demonstration_folder-} ]] || return 0
  local files=("$demonstration_folder"/*)
  [[ -e ${files[0]} ]] || { rm "$demonstration_folder/.demonstration" && rmdir "$demonstration_folder"; } 2>/dev/null || true
}

# What the demonstration has left, and what to try next.
show_results() {
  [[ -n ${demonstration_folder-} ]] || return 0
  local folder=${demonstration_folder#"$PWD"/}
  cat >&2 <<EOF

Left in $folder:
  report.html              the run on one page, for a browser
  train_eval_results.txt   loss and accuracy of every epoch
  metrics.jsonl            the same and every tenth step, for programs
  model.safetensors        the weights; best.safetensors those of the best epoch
  model.txt, args.txt      the architecture and every flag in effect

Try next:
  ./launch --dataset shapes --resize 32 --patch_size 4 --layer ConvNNAttention --num_epochs 3
  ./launch data cifar10 --data_path Data && ./launch --resize 32 --patch_size 4
  ./launch -np 1 evaluate --checkpoint $folder/best.safetensors --dataset shapes
EOF
}
